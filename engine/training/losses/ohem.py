"""Online hard example mining: the loss of the hardest pixels.

Source: chenjun2hao/DDRNet.pytorch, commit bc0e193e87ead839dbc715c48e6bfb059cf21b27,
lib/core/criterion.py.
"""

from dataclasses import dataclass

import nnabla.functions as F
import numpy as np

from common.sections import Section, config_key
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.registry import PixelLoss, register
from layers import functions as L


@dataclass(frozen=True, kw_only=True)
class OhemKeys(Section):
    """Selection of hard pixels."""

    ohem_threshold: float = config_key(
        0.9,
        'ohem keeps a pixel if the probability of its true class is below this',
        above=0,
        most=1,
    )
    ohem_min_kept: int = config_key(
        131072, 'minimum number of pixels of a micro-batch that ohem keeps', least=1
    )


def ohem(head: Head, keys: OhemKeys) -> MicroBatchLoss:
    """Return the mean loss of the hard pixels.

    A pixel is kept if the probability of its true class is below a limit. The limit is the larger
    of the threshold and the probability of the pixel number ``ohem_min_kept``, counted from 0 in
    ascending order of these probabilities. If there are at most that many valid pixels, the
    probability of the easiest valid pixel takes its place. Each micro-batch is sorted separately,
    and its weight is its share of all valid pixels, so the loss depends on how a batch is divided.
    Class weights and label smoothing change the losses of pixels, not their order.

    Differs from the original: 0 instead of NaN when no pixel is kept.
    """
    targets, size = head.targets, head.cross_entropy.size
    index = min(keys.ohem_min_kept, size - 1)
    probability = F.exp(head.cross_entropy * -1)
    order = probability + targets.add(targets.shape, lambda labels: _offsets(labels, index))
    order = F.sort(F.reshape(order, (1, size), inplace=False), axis=1)
    limit = F.maximum_scalar(order[:, index : index + 1], keys.ohem_threshold)
    kept = F.less(probability, F.reshape(limit, (1, 1, 1, 1), inplace=False)) * targets.valid
    kept.need_grad = False
    share = F.maximum_scalar(L.mean_all(kept), 0.5 / size)  # if no pixel is kept, 0 / share is 0
    return head.by_valid_pixels(L.mean_all(head.pixel_losses * kept) / share)


def _offsets(labels: np.ndarray, index: int) -> np.ndarray:
    """Return offsets to the probabilities, so that sorting puts a valid pixel at ``index``.

    That pixel is number ``index`` of the sorted valid pixels, or the last one if there are fewer.
    Ignored pixels are moved behind all valid ones, except for as many as the index requires in
    front of them.
    """
    offsets = np.zeros(labels.shape, np.float32)
    ignored = np.flatnonzero(labels < 0)
    before = max(index + 1 - (labels.size - len(ignored)), 0)
    offsets.flat[ignored[:before]] = -2
    offsets.flat[ignored[before:]] = 2
    return offsets


register(PixelLoss('ohem', OhemKeys, ohem, selects_pixels=True))
