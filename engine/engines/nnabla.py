"""NNabla's own graphs, in the current context: the reference."""

from collections import OrderedDict
from collections.abc import Callable

import nnabla as nn
import numpy as np

from engine.engines import KEPT, Shape
from models import Network

NAME = 'nnabla'


class Graphs:
    """The graphs of the latest ``KEPT`` shapes, all on the registered parameters.

    on_new_size: called before one is built, and when all are dropped: the place to release memory
    that fits the old shapes only. Weights that are loaded later reach the kept graphs.
    """

    used = frozenset({NAME})

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        self.network = network
        self._on_new_size = on_new_size
        self._graphs = OrderedDict()

    def prepare(self, shape: Shape, x: np.ndarray | None = None):
        """Build the graph for a shape."""
        if shape not in self._graphs:
            while len(self._graphs) >= KEPT:
                self._graphs.popitem(last=False)
            self._on_new_size()
            variable = nn.Variable(shape)
            self._graphs[shape] = variable, self.network(variable)[0]
        self._graphs.move_to_end(shape)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``, and ``RuntimeError`` of an allocation."""
        self.prepare(x.shape)
        inputs, outputs = self._graphs[x.shape]
        inputs.d = x
        outputs.forward(clear_buffer=True)
        return np.array(outputs.d, np.float32)

    def close(self):
        """Drop all graphs."""
        self._graphs.clear()
        self._on_new_size()
