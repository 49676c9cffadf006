"""The scale-invariant logarithmic loss of depths.

Eigen, Puhrsch, Fergus, 2014, arXiv:1406.2283, equation 4. Its root with a lambda of 0.85 is the
loss of Lee et al., 2019, arXiv:1907.10326, and of many networks since, which multiply it by 10.
"""

from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np

from common.sections import Section, config_key
from engine.training.losses.depth_head import DepthHead
from engine.training.losses.head import MicroBatchLoss
from engine.training.losses.registry import Term, register_depth
from layers import functions as L

LEAST_DEPTH_METRES = 0.1  # below, the logarithm of a prediction continues as a straight line
LEAST_SQUARE = 1e-8  # of which a root is taken, so that its slope is finite


@dataclass(frozen=True, kw_only=True)
class SilogKeys(Section):
    """The scale-invariant logarithmic loss of depths."""

    depth_silog_weight: float = config_key(
        0.0, 'weight of the scale-invariant logarithmic loss of depths', least=0
    )
    depth_silog_lambda: float = config_key(
        0.5,
        'share of the squared mean that this loss subtracts: 0 sees the scale, 1 does not',
        least=0,
        most=1,
    )
    depth_silog_root: bool = config_key(False, 'whether this loss is the square root for an image')


def silog(head: DepthHead, keys: SilogKeys) -> MicroBatchLoss:
    """Return ``mean(d^2) - lambda * mean(d)^2`` of each image, averaged over the images.

    ``d`` is the logarithm of the prediction minus that of the target, at the known pixels. An image
    without any does not count. Every image stands for itself, so the loss does not depend on how a
    batch is divided. The logarithm of a prediction below ``LEAST_DEPTH_METRES``, which can be
    negative, continues as its tangent.
    """
    targets, images = head.targets, head.targets.shape[0]
    logs = F.log(targets.metres + (targets.known * -1 + 1))
    logs.need_grad = False
    difference = (_logarithm(head.prediction) - logs) * targets.known
    share = targets.add((images,), lambda metres: 1 / np.maximum(_shares(metres), 1e-12))
    mean, mean_square = (_row_means(x) * share for x in (difference, difference * difference))
    losses = mean_square - mean * mean * keys.depth_silog_lambda
    if keys.depth_silog_root:
        losses = F.pow_scalar(F.maximum_scalar(losses, LEAST_SQUARE), 0.5)
        losses = losses * targets.add((images,), lambda metres: _shares(metres) > 0)
    return MicroBatchLoss(L.mean_all(losses), _count_images, len)


def _logarithm(x: nn.Variable) -> nn.Variable:
    least = LEAST_DEPTH_METRES
    below = F.minimum_scalar(x, least) * (1 / least) - 1  # 0 from ``least`` on
    return F.log(F.maximum_scalar(x, least)) + below


def _row_means(x: nn.Variable) -> nn.Variable:
    """Return the mean of each image of (N, 1, H, W), shape (N,)."""
    return L.row_means(F.reshape(x, (x.shape[0], x.size // x.shape[0]), inplace=False))


def _shares(metres: np.ndarray) -> np.ndarray:
    """Return the share of known pixels of each image, (N,)."""
    return (metres > 0).mean(axis=(1, 2, 3))


def _count_images(metres: np.ndarray) -> int:
    """Return the number of images with a known pixel."""
    return np.count_nonzero(_shares(metres))


register_depth(Term('depth_silog', SilogKeys, silog))
