"""Build and cache the training graphs of a network, one for each shape of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import nnabla as nn
import numpy as np

from common.lru import LeastRecentlyUsed
from common.sections import SectionError
from common.tasks import PICTURE_CHANNELS
from engine.distributed import communicators
from engine.distributed.communicators import Backward, SingleProcessCommunicator
from engine.training.losses import Criterion, TaskCriterion
from layers import recompute
from models import Network, NetworkInfo

MAX_CACHED_GRAPHS = 16  # batch shapes

AnyCriterion: TypeAlias = Criterion | TaskCriterion  # of a network of one task, or of several
Taps: TypeAlias = dict[str, nn.Variable]


class AnyObjective(Protocol):
    """The loss of a micro-batch of one task or of several.

    Attributes:
        loss: Variable (1,).
    """

    loss: nn.Variable

    def counts(self, targets: Any, /) -> np.ndarray:
        """Return the contribution to the denominators of what the loader gives as targets."""

    def feed(self, targets: Any, totals: np.ndarray, /) -> None:
        """Set the targets of the next forward pass, and the denominators of the whole batch."""


@dataclass(frozen=True)
class TrainingGraph:
    """The training graph for one shape of a batch.

    Attributes:
        image: Variable (N, C, H, W), the input; C is 3 for each picture of a scene.
        objective: The loss of the micro-batch.
        backward: Accumulates the gradients of this process.
        backward_of_all: Accumulates the gradients, then sums them over the processes.
        order: Names of the synchronized batch norms, in the order of computation.
        taps: For each task the encoder's last map, as the task's decoder takes it. After a backward
            pass it holds the gradient of that task. Empty unless the scales of the tasks are
            learned.
    """

    image: nn.Variable
    objective: AnyObjective
    backward: Backward
    backward_of_all: Backward
    order: tuple[str, ...]
    taps: Taps


class TrainingGraphs:
    """A least-recently-used cache of training graphs.

    Args:
        network: The network; its parameters are registered.
        criterion: The training loss.
        parameters: The trained parameters, by name.
        communicator: Sums the gradients over the processes.
        build: Fields of :class:`layers.build.Build`.

    Raises:
        SectionError: The scales of tasks are learned, and the network does not show the gradients
            of its tasks, or its encoder is frozen.
    """

    def __init__(
        self,
        network: Network,
        criterion: AnyCriterion,
        parameters: Mapping[str, nn.Variable],
        communicator: SingleProcessCommunicator,
        build: Mapping,
    ):
        self._network, self._criterion, self._build = network, criterion, build
        self._parameters, self._communicator = parameters, communicator
        self._graphs: LeastRecentlyUsed[tuple[int, ...], TrainingGraph] = LeastRecentlyUsed(
            MAX_CACHED_GRAPHS
        )
        if isinstance(criterion, TaskCriterion) and criterion.scales.learns:
            self._check_taps([task.name for task in criterion.tasks])

    def graph_for(self, shape: tuple[int, ...]) -> TrainingGraph:
        """Return the graph for images of ``shape`` (N, C, H, W), built on first use."""
        return self._graphs.get_or_make(shape, lambda: self._new_graph(shape))

    def build_objective(self, shape: tuple[int, ...]) -> tuple[nn.Variable, AnyObjective, Taps]:
        """Build a new graph for images of ``shape`` (N, C, H, W).

        Returns:
            The input Variable, the loss, and the variables of :attr:`TrainingGraph.taps`.
        """
        image, build = nn.Variable(shape), self._build
        taps: Taps = {}
        if isinstance(self._criterion, TaskCriterion) and self._criterion.scales.learns:
            build = {**build, 'task_taps': taps}
        outputs = self._network(image, train=True, **build)
        size, total = (shape[2], shape[3]), self._communicator.total
        objective = self._criterion.build(outputs, size, total=total)
        recompute.keep_inputs_of_spurious_readers(objective.loss)
        return image, objective, taps

    def _check_taps(self, tasks: Sequence[str]) -> None:
        """Check, with a small graph, that a backward pass reaches the tap of each task."""
        _, _, taps = self.build_objective(_small_shape(self._network.info, 2))
        if set(taps) != set(tasks):
            raise SectionError(
                'task_weighting',
                f'{self._network.name} does not show the gradient of each task at its last map '
                '(layers.tasks.tap), so weights cannot be learned; use fixed',
            )
        if not all(tap.need_grad for tap in taps.values()):
            raise SectionError(
                'task_weighting',
                'the whole encoder is frozen, so no gradient reaches its last map and weights '
                'cannot be learned; use fixed, or freeze less',
            )

    def _new_graph(self, shape: tuple[int, ...]) -> TrainingGraph:
        image, objective, taps = self.build_objective(shape)
        return TrainingGraph(
            image,
            objective,
            lambda gradient: objective.loss.backward(gradient, clear_buffer=True),
            self._communicator.backward_of(objective.loss, self._parameters),
            communicators.sync_batch_norm_order(objective.loss),
            taps,
        )


def auxiliary_heads(network: Network) -> int:
    """Return the number of auxiliary heads of a network, which a small graph shows."""
    outputs = network(nn.Variable(_small_shape(network.info, 1)), aux=True)
    return len(outputs) - len(network.info.tasks)


def _small_shape(info: NetworkInfo, batch: int) -> tuple[int, int, int, int]:
    """Return the shape of the smallest images that a network takes, (N, C, H, W)."""
    side = -(-max(info.smallest_size, 1) // info.size_divisor) * info.size_divisor
    return batch, PICTURE_CHANNELS * info.inputs, side, side
