"""NNabla as a backend: the reference for all other backends."""

import time
from collections.abc import Callable

import nnabla as nn
import numpy as np

from common.memory import memory_errors_as
from engine.backends.base import NNABLA, Shape
from engine.backends.joined_maps import joined_maps
from engine.backends.part import middle_part
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
        self._seconds_per_value: float | None = None  # of the fastest run so far

    def reserve(self, shapes: int) -> None:
        """Keep graphs for at least ``shapes`` input shapes, the number that one image needs."""
        self._graphs.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the maps of ``x``, (N, channels, h, w) float32; raise ``MemoryError``."""
        with self.workspace.entered(), memory_errors_as(MemoryError):
            inputs, outputs = self._graphs.get_or_make(x.shape, lambda: self._build(x.shape))
            started = time.monotonic()
            inputs.d = x
            outputs.forward(clear_buffer=True)
            maps = np.array(outputs.d, np.float32)
            seconds = (time.monotonic() - started) / x.size
            self._seconds_per_value = min(seconds, self._seconds_per_value or seconds)
            return maps

    def expected_seconds(self, x: np.ndarray) -> float:
        """Return the expected duration of a run on a large input, in seconds; 0 for any other.

        It is that of the fastest run per pixel. Before the first run, a part of ``x`` is run.
        """
        part = middle_part(x, self.network.info)
        if part is None:
            return 0.0
        if self._seconds_per_value is None:
            for _ in range(2):  # a GPU is slow at its first run
                self.run(part)
        return (self._seconds_per_value or 0.0) * x.size

    def close(self) -> None:
        """Release all graphs."""
        with self.workspace.entered():
            self._graphs.clear()
            self._on_new_size()

    def _build(self, shape: Shape) -> tuple[nn.Variable, nn.Variable]:
        """Build the graph for a shape; return its input and its output."""
        self._on_new_size()
        variable = nn.Variable(shape)
        output = joined_maps(self.network, variable)
        self.workspace.check_graph(output)
        return variable, output
