"""The Lovász-softmax loss, a surrogate of the mean IoU.

Berman, Rannen Triki, Blaschko, 2018, arXiv:1705.08790, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.sections import Section, config_key
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.host_function import HostFunction, Variables
from engine.training.losses.registry import Term, register


@dataclass(frozen=True, kw_only=True)
class LovaszKeys(Section):
    """The Lovász-softmax loss."""

    lovasz_weight: float = config_key(
        0.0, 'weight of the Lovász-softmax loss of the main head', least=0
    )


def lovasz_softmax(head: Head, keys: LovaszKeys) -> MicroBatchLoss:
    """Return the Lovász-extended Jaccard loss, averaged over the classes in the labels.

    All valid pixels of the micro-batch form one set (the paper's authors call it
    ``per_image=False, classes='present'``). The weight of a micro-batch is its share of all valid
    pixels, so the loss depends on how a batch is divided. Without a valid pixel, loss and gradient
    are 0.

    The host computes the loss in every context. It sorts the pixels once for each class, which
    takes a quarter of a second for a million pixels and one class.
    """
    return head.by_valid_pixels(_LovaszSoftmax()(head.probabilities, head.targets.labels))


class _LovaszSoftmax(HostFunction):
    """The loss as an NNabla function.

    One sort yields loss and gradient, so the forward pass stores the gradient.
    """

    def forward_impl(self, inputs: Variables, outputs: Variables) -> None:
        loss, self._gradient = _loss_and_gradient(inputs[0].d, inputs[1].d)
        outputs[0].d = np.full(1, loss, np.float32)

    def backward_impl(
        self,
        inputs: Variables,
        outputs: Variables,
        propagate_down: Sequence[bool],
        accum: Sequence[bool],
    ) -> None:
        if propagate_down[0]:
            gradient = self._gradient * outputs[0].g
            inputs[0].g = inputs[0].g + gradient if accum[0] else gradient


def _loss_and_gradient(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the loss and its gradient with respect to the probabilities, float32 (N, C, H, W)."""
    gradient = np.zeros(probabilities.shape, np.float32)
    valid = labels[:, 0] >= 0
    truth = labels[:, 0][valid]
    present = np.unique(truth).astype(int)
    loss = 0.0
    for index in present:
        distance = probabilities[:, index][valid] - (truth == index)  # signed, from -1 to 1
        errors = np.abs(distance)
        slopes = _jaccard_slopes(errors, truth == index)
        loss += np.dot(errors, slopes) / len(present)
        gradient[:, index][valid] = slopes * np.sign(distance) / len(present)
    return loss, gradient


def _jaccard_slopes(errors: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return the gradient of the Lovász extension of the Jaccard loss, float64 (pixels,).

    The gradient of a pixel is the increase of the Jaccard loss at that pixel when pixels become
    wrong in the order of descending errors.
    """
    order = np.argsort(-errors)
    positive = positive[order]
    intersection = positive.sum() - np.cumsum(positive)
    union = positive.sum() + np.cumsum(~positive)
    slopes = np.empty(len(errors))
    slopes[order] = np.diff(1 - intersection / union, prepend=0)
    return slopes


register(Term('lovasz', LovaszKeys, lovasz_softmax))
