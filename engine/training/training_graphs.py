"""Build and cache the training graphs of a network, one for each shape of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import nnabla as nn

from common.lru import LeastRecentlyUsed
from engine.distributed import communicators
from engine.distributed.communicators import Backward, SingleProcessCommunicator
from engine.training.losses import Criterion, Objective
from layers import recompute
from models import Network

MAX_CACHED_GRAPHS = 16  # batch shapes


@dataclass(frozen=True)
class TrainingGraph:
    """The training graph for one shape of a batch.

    Attributes:
        image: Variable (N, 3, H, W), the input.
        objective: The loss of the micro-batch.
        backward: Accumulates the gradients of this process.
        backward_of_all: Accumulates the gradients, then sums them over the processes.
        order: Names of the synchronized batch norms, in the order of computation.
    """

    image: nn.Variable
    objective: Objective
    backward: Backward
    backward_of_all: Backward
    order: tuple[str, ...]


class TrainingGraphs:
    """A least-recently-used cache of training graphs.

    Args:
        network: The network; its parameters are registered.
        criterion: The training loss.
        parameters: The trained parameters, by name.
        communicator: Sums the gradients over the processes.
        build: Fields of :class:`layers.build.Build`.
    """

    def __init__(
        self,
        network: Network,
        criterion: Criterion,
        parameters: Mapping[str, nn.Variable],
        communicator: SingleProcessCommunicator,
        build: Mapping,
    ):
        self._network, self._criterion, self._build = network, criterion, build
        self._parameters, self._communicator = parameters, communicator
        self._graphs: LeastRecentlyUsed[tuple[int, ...], TrainingGraph] = LeastRecentlyUsed(
            MAX_CACHED_GRAPHS
        )

    def graph_for(self, shape: tuple[int, ...]) -> TrainingGraph:
        """Return the graph for images of ``shape`` (N, 3, H, W), built on first use."""
        return self._graphs.get_or_make(shape, lambda: self._new_graph(shape))

    def build_objective(self, shape: tuple[int, ...]) -> tuple[nn.Variable, Objective]:
        """Build a new graph for images of ``shape`` (N, 3, H, W).

        Returns:
            The input Variable, and the loss.
        """
        image = nn.Variable(shape)
        outputs = self._network(image, train=True, **self._build)
        objective = self._criterion.build(outputs, (shape[2], shape[3]))
        recompute.keep_inputs_of_spurious_readers(objective.loss)
        return image, objective

    def _new_graph(self, shape: tuple[int, ...]) -> TrainingGraph:
        image, objective = self.build_objective(shape)
        return TrainingGraph(
            image,
            objective,
            lambda gradient: objective.loss.backward(gradient, clear_buffer=True),
            self._communicator.backward_of(objective.loss, self._parameters),
            communicators.sync_batch_norm_order(objective.loss),
        )
