"""NNabla's own graphs, in the current context: the reference."""

from collections.abc import Callable

import nnabla as nn
import numpy as np

from common.memory import memory_errors_as
from engine.backends.base import NNABLA, Shape
from engine.backends.shape_cache import ShapeCache
from models import Network


class Graphs:
    """The graphs of the latest shapes, all on the registered parameters.

    on_new_size: called before one is built, and when all are dropped: the place to release memory
    that fits the old shapes only. Weights that are loaded later reach the kept graphs.
    """

    used, threads = frozenset({NNABLA}), 1

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        self.network = network
        self._on_new_size = on_new_size
        self._graphs = ShapeCache()

    def need(self, shapes: int) -> None:
        """Keep the graphs of as many shapes as an image is seen in."""
        self._graphs.need(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``."""
        with memory_errors_as(MemoryError):
            inputs, outputs = self._graphs.get_or_make(x.shape, lambda: self._build(x.shape))
            inputs.d = x
            outputs.forward(clear_buffer=True)
            return np.array(outputs.d, np.float32)

    def close(self) -> None:
        """Drop all graphs."""
        self._graphs.clear()
        self._on_new_size()

    def _build(self, shape: Shape) -> tuple[nn.Variable, nn.Variable]:
        """Build the graph for a shape; returns its input and its output."""
        self._on_new_size()
        variable = nn.Variable(shape)
        return variable, self.network(variable)[0]
