"""Combine the losses of all heads of a network into one training objective.

    criterion = create(config, num_classes)
    objective = criterion.build(network(x, train=True), x.shape[2:])
    totals = communicator.total(sum(objective.counts(labels) for labels in micro_batches))
    for labels in micro_batches:
        objective.feed(labels, totals)
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)          # gradients add up

A batch can be divided into micro-batches over several backward passes and processes. Each
micro-batch divides its loss by a count over the whole batch, which depends on the labels alone.
Losses and gradients summed over all micro-batches therefore equal those of the whole batch, except
for losses whose docstring says that they depend on the division.

Labels are integers (N, 1, H, W), negative where a pixel is ignored. A label must be below the
number of classes; NNabla does not check this. NNabla's CUDA extension computes all functions used
here correctly on a Hopper GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import nnabla as nn
import numpy as np

from common.sections import SectionError
from engine.training.losses.cross_entropy import cross_entropy
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.keys import PIXEL_LOSSES, LossKeys
from engine.training.losses.pass_mean import Total, own_total
from engine.training.losses.registry import TERMS
from engine.training.losses.targets import LabelStatistic, PixelTargets, Targets
from layers import functions as L
from layers.build import float_context


def create(config: Mapping[str, Any], num_classes: int) -> 'Criterion':
    """Create the criterion of a config from the registered losses.

    Args:
        config: The effective config.
        num_classes: The network's number of classes.

    Raises:
        SectionError: Keys contradict each other or the number of classes.
    """
    keys = LossKeys.of(config)
    main = PIXEL_LOSSES[keys.loss]
    if main.selects_pixels and keys.loss_mean is not None:
        raise SectionError(
            'loss_mean', f'not supported by the loss {main.name}, which selects its pixels itself'
        )
    if keys.class_weights and len(keys.class_weights) != num_classes:
        raise SectionError(
            'class_weights',
            f'{len(keys.class_weights)} values for {num_classes} classes; list {num_classes}, or '
            'set class_weights to null',
        )
    terms = []
    for term in TERMS.values():
        own = term.keys.of(config)
        if term.weight(own):
            terms.append((term.weight(own), term.bound(own)))
    return Criterion(keys, main.bound(main.keys.of(config)), tuple(terms))


@dataclass(frozen=True)
class Criterion:
    """The training loss: a loss and terms for the main head, cross entropy for auxiliary heads.

    Attributes:
        keys: The keys that apply to all losses. ``loss_at: input`` resizes the logits to the
            input's size; ``loss_at: logits`` subsamples the labels to each head's size.
        main: Builds the loss of the main head, which has the weight ``main_weight``.
        terms: (weight, builder) pairs of further losses of the main head.
    """

    keys: LossKeys
    main: Callable[[Head], MicroBatchLoss]
    terms: tuple[tuple[float, Callable[[Head], MicroBatchLoss]], ...] = ()

    def check_heads(self, count: Callable[[], int]) -> None:
        """Raise ``SectionError`` if ``aux_weights`` does not match the number of auxiliary heads.

        Args:
            count: Returns that number; it is called only if there are weights.
        """
        if self.keys.aux_weights is not None:
            self.keys.weights_of_aux(count())

    def build(
        self,
        outputs: Sequence[nn.Variable],
        size: tuple[int, int],
        context: nn.Context | None = None,
        total: Total = own_total,
    ) -> 'Objective':
        """Build the graph of the loss, which computes in float32 for every network.

        Args:
            outputs: Logits ``[main, aux1, ...]``, each (N, C, h, w).
            size: (H, W) of the network's input.
            context: The context of the device; by default the current one.
            total: Not used: these losses exchange nothing while they are computed.

        Raises:
            SectionError: ``aux_weights`` does not match the number of heads.
        """
        weights = self.keys.weights_of_aux(len(outputs) - 1)
        targets: dict[tuple[int, ...], Targets] = {}
        terms: list[WeightedLoss] = []
        with nn.context_scope(float_context(context)):
            for number, logits in enumerate(outputs):
                if self.keys.loss_at == 'input':
                    logits = L.resize(logits, size)
                head_size = logits.shape[2:]
                if head_size not in targets:
                    targets[head_size] = Targets(logits.shape[0], head_size)
                head = Head(logits, targets[head_size], self.keys)
                losses = [(weights[number - 1], cross_entropy)] if number else self._of_main()
                terms += [WeightedLoss(loss(head), weight, head.targets) for weight, loss in losses]
            return Objective(terms)

    def _of_main(self) -> list[tuple[float, Callable[[Head], MicroBatchLoss]]]:
        return [(self.keys.main_weight, self.main), *self.terms]


class Objective:
    """The graph of the loss of one micro-batch; the module's docstring shows its use.

    Attributes:
        loss: Variable (1,), this micro-batch's share of the loss of the whole batch.
    """

    def __init__(self, terms: Sequence['WeightedLoss']):
        self._terms = terms
        self.loss: nn.Variable = reduce(add, (term.loss.value * term.factor for term in terms))
        self.loss.persistent = True

    @property
    def size(self) -> int:
        """Number of denominators."""
        return len(self._terms)

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """Return this micro-batch's contribution to the denominators, float64 (losses,).

        Args:
            labels: (N, 1, H, W) integers of the input's size.
        """
        counts = self._statistics_of([term.loss.count for term in self._terms], labels)
        return np.array(counts, np.float64)

    def feed(self, labels: np.ndarray, totals: np.ndarray) -> None:
        """Set the labels of the next forward pass.

        Args:
            labels: (N, 1, H, W) integers of the input's size.
            totals: (losses,) sum of the :meth:`counts` of all micro-batches of all processes.
        """
        for targets in {id(term.targets): term.targets for term in self._terms}.values():
            targets.feed(labels)
        multipliers = self._statistics_of(
            [term.loss.multiplier or term.loss.count for term in self._terms], labels
        )
        for term, own, total in zip(self._terms, multipliers, totals):
            term.factor.d = np.full(1, term.weight * own / total if total else 0, np.float32)

    def _statistics_of(
        self, statistics: Sequence[LabelStatistic], labels: np.ndarray
    ) -> list[float]:
        """Return the statistic of the labels for each loss; compute shared statistics once."""
        known: dict[tuple[int, LabelStatistic], float] = {}
        for term, statistic in zip(self._terms, statistics):
            key = id(term.targets), statistic
            if key not in known:
                known[key] = statistic(term.targets.at(labels))
        return [
            known[id(term.targets), statistic] for term, statistic in zip(self._terms, statistics)
        ]


class WeightedLoss:
    """A loss with its weight, and the Variable of its factor, which depends on the labels."""

    def __init__(self, loss: MicroBatchLoss, weight: float, targets: PixelTargets):
        self.loss, self.weight, self.targets = loss, weight, targets
        self.factor = nn.Variable((1,), need_grad=False)
