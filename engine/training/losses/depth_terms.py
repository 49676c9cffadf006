"""The depth losses of TI's EdgeAI-Lite: smooth L1, scale, and variance of the error.

Source: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/losses (norm_loss.py, scale_loss.py, loss_utils.py).
The default weights are those of its depth script. Its script for several tasks uses smooth L1 and
scale with weights of 1.

Differs from the original: without a known pixel the losses are 0 instead of NaN. The original adds
up the means of the GPUs; here the moments are those of all processes together.
"""

from dataclasses import dataclass

import nnabla.functions as F

from common.sections import Section, config_key
from engine.training.losses.depth_head import DepthHead
from engine.training.losses.head import MicroBatchLoss
from engine.training.losses.registry import DEPTH_TERMS, Term

CHARBONNIER_EPSILON, CHARBONNIER_POWER = 1e-3, 0.45  # metres; the original's scale loss


@dataclass(frozen=True, kw_only=True)
class SmoothL1Keys(Section):
    """The smooth L1 loss of depths."""

    depth_l1_weight: float = config_key(0.125, 'weight of the smooth L1 loss of depths', least=0)


def smooth_l1(head: DepthHead, keys: SmoothL1Keys) -> MicroBatchLoss:
    """Return the mean smooth L1 loss: ``e^2 / 2`` up to an error of 1 m, ``|e| - 1 / 2`` above."""
    error = head.error
    return head.mean(F.huber_loss(error, F.constant(0, error.shape), delta=1) * 0.5)


@dataclass(frozen=True, kw_only=True)
class ScaleKeys(Section):
    """The loss of the mean depth."""

    depth_scale_weight: float = config_key(
        0.125, 'weight of the loss of the mean depth, which compares the scale only', least=0
    )


def scale(head: DepthHead, keys: ScaleKeys) -> MicroBatchLoss:
    """Return the Charbonnier loss of the mean error ``m``: ``(m^2 + c^2)^0.45 - c^0.9``.

    The mean covers the backward pass on all processes, so the loss does not depend on the number of
    processes, but on how ``accumulation`` divides a batch. The weight of a pass is its share of all
    known pixels.
    """
    mean, floor = head.mean_error, CHARBONNIER_EPSILON**2
    power = F.pow_scalar(mean * mean + floor, CHARBONNIER_POWER)
    return head.by_known_pixels(power - floor**CHARBONNIER_POWER)


@dataclass(frozen=True, kw_only=True)
class VarianceKeys(Section):
    """The variance of the error."""

    depth_variance_weight: float = config_key(
        4.0, 'weight of the variance of the error of depths', least=0
    )


def variance(head: DepthHead, keys: VarianceKeys) -> MicroBatchLoss:
    """Return the unbiased variance of the error, 0 for a single pixel.

    It depends on ``accumulation`` as :func:`scale` does.
    """
    unbiased = head.pass_pixels / F.maximum_scalar(head.pass_pixels - 1, 1)
    unbiased.need_grad = False
    loss = head.mean(head.deviation * head.deviation)
    return MicroBatchLoss(loss.value * unbiased, loss.count, loss.multiplier)


# They are the default, unlike the terms of engine.training.losses.registry.register_depth.
for _term in (
    Term('depth_l1', SmoothL1Keys, smooth_l1),
    Term('depth_scale', ScaleKeys, scale),
    Term('depth_variance', VarianceKeys, variance),
):
    DEPTH_TERMS.add(_term.name, _term)
