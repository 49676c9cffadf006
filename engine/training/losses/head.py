"""Define the input and the result of a loss: the head of a network, and a micro-batch's loss."""

from dataclasses import dataclass
from functools import cached_property

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.training.losses.keys import LossKeys
from engine.training.losses.targets import LabelStatistic, Targets
from layers import functions as L


@dataclass(frozen=True)
class MicroBatchLoss:
    """A loss of a micro-batch, and its weight in the loss of the whole batch.

    The loss of the batch is the sum over all micro-batches of ``value * multiplier(labels) /
    total``, where ``total`` is the sum of their ``count(labels)``. For a mean over the counted
    pixels the multiplier is the count itself; the sum is then the mean over the whole batch.

    Attributes:
        value: Variable (1,), the loss of the micro-batch alone.
        count: Returns the micro-batch's contribution to the denominator. Losses that share the
            function compute it once.
        multiplier: Returns the weight of ``value``; by default ``count``.
    """

    value: nn.Variable
    count: LabelStatistic
    multiplier: LabelStatistic | None = None


@dataclass(frozen=True)
class Head:
    """The logits of one head at the resolution of the loss, and the building blocks of losses.

    All Variables are float32.

    Attributes:
        logits: Variable (N, C, h, w).
        targets: The labels at that resolution.
        keys: The keys that apply to all losses.
    """

    logits: nn.Variable
    targets: Targets
    keys: LossKeys

    @cached_property
    def probabilities(self) -> nn.Variable:
        """Softmax of the logits, (N, C, h, w)."""
        return F.softmax(self.logits, axis=1)

    @cached_property
    def cross_entropy(self) -> nn.Variable:
        """Unweighted cross entropy of each pixel, (N, 1, h, w), 0 where the label is ignored."""
        return F.softmax_cross_entropy(self.logits, self.targets.labels, axis=1)

    @cached_property
    def pixel_losses(self) -> nn.Variable:
        """Cross entropy with class weights and label smoothing, (N, 1, h, w).

        The value is 0 where the label is ignored.
        """
        losses = self.cross_entropy
        weights, share = self.keys.class_weights, self.keys.label_smoothing
        if weights:
            losses = losses * self.targets.add(self.targets.shape, self.keys.pixel_weights)
        if share:
            of_classes = F.log_softmax(self.logits, axis=1)
            if weights:
                of_classes = of_classes * _constant(weights, (1, -1, 1, 1))
            evenly = F.sum(of_classes, axis=1, keepdims=True) * self.targets.valid
            losses = losses * (1 - share) + evenly * (-share / self.logits.shape[1])
        return losses

    def mean(self, losses: nn.Variable) -> MicroBatchLoss:
        """Return the mean loss over the pixels that ``loss_mean`` selects.

        ``valid`` divides by the sum of the class weights of the valid pixels, as PyTorch does.
        ``all`` divides by the number of all pixels, as the published D3Net does.

        Args:
            losses: (N, 1, h, w) loss of each pixel.
        """
        count: LabelStatistic = count_valid
        if self.keys.loss_mean == 'all':
            count = np.size
        elif self.keys.class_weights:
            count = self.keys.sum_of_weights
        return MicroBatchLoss(L.mean_all(losses), count, np.size)

    def by_valid_pixels(self, value: nn.Variable) -> MicroBatchLoss:
        """Return a loss whose weight is the micro-batch's share of all valid pixels."""
        return MicroBatchLoss(value, count_valid)


def count_valid(labels: np.ndarray) -> int:
    """Return the number of pixels that are not ignored."""
    return np.count_nonzero(labels >= 0)


def _constant(values: tuple[float, ...], shape: tuple[int, ...]) -> nn.Variable:
    array = np.array(values, np.float32).reshape(shape)
    return nn.Variable.from_numpy_array(array, need_grad=False)
