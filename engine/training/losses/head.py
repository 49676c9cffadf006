"""What a loss is made of: the logits of a head, its labels, and how micro-batches add up."""

from dataclasses import dataclass
from functools import cached_property

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.training.losses.keys import LossKeys
from engine.training.losses.targets import Measure, Targets
from layers import functions as L


@dataclass(frozen=True)
class Part:
    """A loss of a micro-batch, and its share in the loss of the whole batch.

    The loss of the batch is the sum over all micro-batches of ``value * multiplier(labels) /
    total``, where the total is the sum of their ``count(labels)``. So a mean over what ``count``
    counts has the count itself as its multiplier, and the sum is the mean over the whole batch.

    Attributes:
        value: Variable (1,), the loss of the micro-batch by itself.
        count: What the batch divides by. Parts with the same function count once.
        multiplier: By default the count.
    """

    value: nn.Variable
    count: Measure
    multiplier: Measure | None = None


@dataclass(frozen=True)
class Head:
    """The logits of a head at the resolution of the loss, and what losses are made of.

    All is in float32.

    Attributes:
        logits: (N, C, h, w).
        targets: The labels at that resolution.
        keys: What holds for every loss.
    """

    logits: nn.Variable
    targets: Targets
    keys: LossKeys

    @cached_property
    def probabilities(self) -> nn.Variable:
        """The softmax of the logits, (N, C, h, w)."""
        return F.softmax(self.logits, axis=1)

    @cached_property
    def cross_entropy(self) -> nn.Variable:
        """Each pixel's plain cross entropy, (N, 1, h, w), 0 where the label is ignored."""
        return F.softmax_cross_entropy(self.logits, self.targets.labels, axis=1)

    @cached_property
    def pixel_losses(self) -> nn.Variable:
        """The cross entropy with class weights and smoothing, (N, 1, h, w), 0 where the label is
        ignored.
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

    def mean(self, losses: nn.Variable) -> Part:
        """Return the mean of losses of pixels, (N, 1, h, w), over those that ``loss_mean`` says.

        ``valid``: divided by the weights of the classes of the valid pixels, as PyTorch does;
        ``all``: by the number of all pixels, as the published D3Net does.
        """
        count: Measure = count_valid
        if self.keys.loss_mean == 'all':
            count = np.size
        elif self.keys.class_weights:
            count = self.keys.sum_of_weights
        return Part(L.mean_all(losses), count, np.size)

    def by_valid_pixels(self, value: nn.Variable) -> Part:
        """Return a loss that weighs by the micro-batch's share of all valid pixels."""
        return Part(value, count_valid)


def count_valid(labels: np.ndarray) -> int:
    """Return the number of pixels that are not ignored."""
    return np.count_nonzero(labels >= 0)


def _constant(values: tuple[float, ...], shape: tuple[int, ...]) -> nn.Variable:
    array = np.array(values, np.float32).reshape(shape)
    return nn.Variable.from_numpy_array(array, need_grad=False)
