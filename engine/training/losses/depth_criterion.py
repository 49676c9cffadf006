"""Combine the terms of the loss of a depth task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nnabla as nn

from common.sections import SectionError
from engine.training.losses.criterion import Objective, WeightedLoss
from engine.training.losses.depth_head import DepthHead
from engine.training.losses.head import MicroBatchLoss
from engine.training.losses.keys import LossKeys
from engine.training.losses.pass_mean import Total, own_total
from engine.training.losses.registry import DEPTH_TERMS
from engine.training.losses.targets import DepthTargets
from layers import functions as L
from layers.build import float_context


@dataclass(frozen=True)
class DepthCriterion:
    """The training loss of a depth task, whose targets are metres, 0 where they are unknown.

    Attributes:
        loss_at: The key of that name, as for class tasks.
        terms: (weight, builder) pairs.
    """

    loss_at: str
    terms: tuple[tuple[float, Callable[[DepthHead], MicroBatchLoss]], ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> 'DepthCriterion':
        """Create the criterion of a config from the registered terms.

        Raises:
            SectionError: All terms have the weight 0.
        """
        bound = []
        for term in DEPTH_TERMS.values():
            keys = term.keys.of(config)
            if term.weight(keys):
                bound.append((term.weight(keys), term.bound(keys)))
        if not bound:
            names = ', '.join(term.weight_key for term in DEPTH_TERMS.values())
            raise SectionError(names, 'are all 0, so that a depth task learns nothing')
        return cls(LossKeys.of(config).loss_at, tuple(bound))

    def build(
        self,
        outputs: Sequence[nn.Variable],
        size: tuple[int, int],
        context: nn.Context | None = None,
        total: Total = own_total,
    ) -> Objective:
        """Build the graph of the loss, in float32 for every network.

        Args:
            outputs: The prediction in metres, (N, 1, h, w), alone.
            size: (H, W) of the network's input.
            context: The context of the device; by default the current one.
            total: Returns the sum of an array over all processes.
        """
        (prediction,) = outputs
        with nn.context_scope(float_context(context)):
            if self.loss_at == 'input':
                prediction = L.resize(prediction, size)
            targets = DepthTargets(prediction.shape[0], prediction.shape[2:])
            head = DepthHead(prediction, targets, total)
            return Objective(
                [WeightedLoss(term(head), weight, targets) for weight, term in self.terms]
            )
