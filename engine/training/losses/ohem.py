"""Online hard example mining: the loss of the pixels that the network finds hardest.

Source: chenjun2hao/DDRNet.pytorch, commit bc0e193e87ead839dbc715c48e6bfb059cf21b27,
lib/core/criterion.py.
"""

from dataclasses import dataclass

import nnabla.functions as F
import numpy as np

from layers import functions as L


@dataclass(frozen=True)
class Ohem:
    """Which pixels are hard; the loss is the mean over them.

    A pixel is kept when the probability of its true class is below ``threshold``, or below that of
    the pixel number ``min_kept``, counted from 0 in the order of these probabilities; with at most
    ``min_kept`` valid pixels the easiest one stands for that. It is the micro-batch that is
    ordered, and its mean has the weight of its share of all valid pixels, so the loss depends on
    how a batch is divided. Class weights and smoothing change the losses of pixels, not their
    order.

    Differs from the original: 0 instead of NaN when no pixel is kept.
    """

    threshold: float
    min_kept: int


def mean_of_hard(cross_entropy, pixel_losses, targets, ohem: Ohem):
    """The mean of the pixel losses that :class:`Ohem` keeps, (1,).

    cross_entropy, pixel_losses: (N, 1, H, W), what orders the pixels and what is averaged.
    targets: see :mod:`engine.training.losses`.
    """
    size = cross_entropy.size
    index = min(ohem.min_kept, size - 1)
    probability = F.exp(cross_entropy * -1)
    keys = probability + targets.add(targets.shape, lambda labels: _offsets(labels, index))
    keys = F.sort(F.reshape(keys, (1, size), inplace=False), axis=1)
    limit = F.maximum_scalar(keys[:, index : index + 1], ohem.threshold)
    kept = F.less(probability, F.reshape(limit, (1, 1, 1, 1), inplace=False)) * targets.valid
    kept.need_grad = False
    share = F.maximum_scalar(L.mean_all(kept), 0.5 / size)  # without a pixel, 0 / share is 0
    return L.mean_all(pixel_losses * kept) / share


def _offsets(labels: np.ndarray, index: int) -> np.ndarray:
    """What is added to probabilities so that, in their order, number ``index`` is that of a valid
    pixel: the ``index``-th of them, or the last if they are fewer. Ignored pixels go behind all
    others, and as many as are needed before them.
    """
    offsets = np.zeros(labels.shape, np.float32)
    ignored = np.flatnonzero(labels < 0)
    before = max(index + 1 - (labels.size - len(ignored)), 0)
    offsets.flat[ignored[:before]] = -2
    offsets.flat[ignored[before:]] = 2
    return offsets
