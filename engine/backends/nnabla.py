"""NNabla as a backend: the reference for all other backends."""

from collections.abc import Callable

import nnabla as nn
import numpy as np

from common.memory import memory_errors_as
from engine.backends.base import NNABLA, Shape
from engine.backends.shape_cache import ShapeCache
from layers.workspace import Workspace
from models import Network


class NnablaBackend:
    """NNabla graphs of the most recent input shapes, in the current workspace.

    They share its registered parameters, so weights that are loaded later take effect in the cached
    graphs as well.

    Args:
        network: The network.
        on_new_size: Function that frees memory which only the old shapes can use. It is called
            before a graph is built and after all graphs are released.

    Attributes:
        workspace: Parameters and context of the graphs.
    """

    used, threads = frozenset({NNABLA}), 1

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        self.network, self.workspace = network, Workspace()
        self._on_new_size = on_new_size
        self._graphs = ShapeCache()

    def reserve(self, shapes: int) -> None:
        """Keep graphs for at least ``shapes`` input shapes, the number that one image needs."""
        self._graphs.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of ``x``, (N, classes, h, w) float32; raise ``MemoryError``."""
        with self.workspace.entered(), memory_errors_as(MemoryError):
            inputs, outputs = self._graphs.get_or_make(x.shape, lambda: self._build(x.shape))
            inputs.d = x
            outputs.forward(clear_buffer=True)
            return np.array(outputs.d, np.float32)

    def close(self) -> None:
        """Release all graphs."""
        with self.workspace.entered():
            self._graphs.clear()
            self._on_new_size()

    def _build(self, shape: Shape) -> tuple[nn.Variable, nn.Variable]:
        """Build the graph for a shape; return its input and its output."""
        self._on_new_size()
        variable = nn.Variable(shape)
        return variable, self.network(variable)[0]
