"""Training losses over logits of several resolutions and labels with ignored pixels.

    criterion = create(config, num_classes)
    objective = criterion.build(network(x, train=True), x.shape[2:])
    totals = communicator.total(sum(objective.counts(labels) for labels in micro_batches))
    for labels in micro_batches:
        objective.feed(labels, totals)
        objective.loss.forward(clear_no_need_grad=True)
        objective.loss.backward(clear_buffer=True)          # gradients add up

A batch may be spread over micro-batches and processes. Each share divides by what the whole batch
counts, which follows from the labels alone, so that the sums of losses and gradients over all
shares are those of the whole batch.

Labels are integers (N, 1, H, W), negative where a pixel is ignored, and below the number of
classes, which NNabla does not check. The functions are those that NNabla's CUDA extension computes
rightly on a Hopper GPU.
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
from engine.training.losses.head import Head, Part
from engine.training.losses.keys import LossKeys
from engine.training.losses.registry import PIXEL_LOSSES, TERMS
from engine.training.losses.targets import Measure, Targets
from layers import functions as L
from layers.build import float_context


def create(config: Mapping[str, Any], num_classes: int) -> 'Criterion':
    """Return the loss that a config asks for, made of those that are registered.

    Raises:
        SectionError: Keys do not fit together, or the network's classes.
    """
    keys = LossKeys.of(config)
    main = PIXEL_LOSSES[keys.loss]
    if main.selects_pixels and keys.loss_mean is not None:
        raise SectionError(
            'loss_mean', f'does not go with loss {main.name}, which averages what it keeps'
        )
    if keys.class_weights and len(keys.class_weights) != num_classes:
        raise SectionError(
            'class_weights', f'{len(keys.class_weights)} values for {num_classes} classes'
        )
    terms = []
    for term in TERMS.values():
        own = term.keys.of(config)
        if term.weight(own):
            terms.append((term.weight(own), term.bound(own)))
    return Criterion(keys, main.bound(main.keys.of(config)), tuple(terms))


@dataclass(frozen=True)
class Criterion:
    """What is minimised: a loss of the main head, terms of it, and cross entropy of other heads.

    Attributes:
        keys: What holds for every loss. With ``loss_at: input`` logits are resized to the input's
            size, with ``logits`` labels are subsampled to each head's size.
        main: Makes the loss of the main head, of weight ``main_weight``.
        terms: What is added to it, each with its weight.
    """

    keys: LossKeys
    main: Callable[[Head], Part]
    terms: tuple[tuple[float, Callable[[Head], Part]], ...] = ()

    def build(
        self,
        outputs: Sequence[nn.Variable],
        size: tuple[int, int],
        context: nn.Context | None = None,
    ) -> 'Objective':
        """Return the graph of the loss of a network's outputs.

        It computes in float32, whatever the precision of the network.

        Args:
            outputs: Logits ``[main, aux1, ...]`` (N, C, h, w).
            size: Of the network's input, (H, W).
            context: Whose device computes; by default the current one.

        Raises:
            SectionError: ``aux_weights`` does not fit the number of heads.
        """
        weights = self.keys.weights_of_aux(len(outputs) - 1)
        targets: dict[tuple[int, ...], Targets] = {}
        terms: list[_WeightedPart] = []
        with nn.context_scope(float_context(context)):
            for number, logits in enumerate(outputs):
                if self.keys.loss_at == 'input':
                    logits = L.resize(logits, size)
                head_size = logits.shape[2:]
                if head_size not in targets:
                    targets[head_size] = Targets(logits.shape[0], head_size)
                head = Head(logits, targets[head_size], self.keys)
                losses = [(weights[number - 1], cross_entropy)] if number else self._of_main()
                terms += [
                    _WeightedPart(loss(head), weight, head.targets) for weight, loss in losses
                ]
            return Objective(terms)

    def _of_main(self) -> list[tuple[float, Callable[[Head], Part]]]:
        return [(self.keys.main_weight, self.main), *self.terms]


class Objective:
    """The loss of one micro-batch as a graph; see the module for its use.

    loss: Variable (1,), this micro-batch's share in the loss of the whole batch.
    """

    def __init__(self, terms: Sequence['_WeightedPart']):
        self._terms = terms
        self.loss: nn.Variable = reduce(add, (term.part.value * term.factor for term in terms))
        self.loss.persistent = True

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """Return what this micro-batch adds to the denominators: float64, one for each part.

        labels: (N, 1, H, W), of the input's size.
        """
        counts = self._measured([term.part.count for term in self._terms], labels)
        return np.array(counts, np.float64)

    def feed(self, labels: np.ndarray, totals: np.ndarray) -> None:
        """Set the labels of the next forward pass; totals: the sum of the counts of all
        micro-batches of all processes.
        """
        for targets in {id(term.targets): term.targets for term in self._terms}.values():
            targets.feed(labels)
        multipliers = self._measured(
            [term.part.multiplier or term.part.count for term in self._terms], labels
        )
        for term, own, total in zip(self._terms, multipliers, totals):
            term.factor.d = np.full(1, term.weight * own / total if total else 0, np.float32)

    def _measured(self, measures: Sequence[Measure], labels: np.ndarray) -> list[float]:
        """Return a measure of the labels for each part; what parts have in common is done once."""
        known: dict[tuple[int, Measure], float] = {}
        for term, measure in zip(self._terms, measures):
            key = id(term.targets), measure
            if key not in known:
                known[key] = measure(term.targets.at(labels))
        return [known[id(term.targets), measure] for term, measure in zip(self._terms, measures)]


class _WeightedPart:
    """A part with its weight, and the factor of its value that the labels decide."""

    def __init__(self, part: Part, weight: float, targets: Targets):
        self.part, self.weight, self.targets = part, weight, targets
        self.factor = nn.Variable((1,), need_grad=False)
