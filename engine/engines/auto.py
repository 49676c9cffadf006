"""The fastest engine that is right: an export, or NNabla where there is none or it does not pay."""

from collections.abc import Callable, Sequence

import numpy as np

from command import LOG
from engine.engines import Engine, Shape
from engine.engines.errors import EngineError


class Auto:
    """Exports in the order of preference, and NNabla.

    exports: functions that make an export's engine, called when the one before has failed; they
    raise ``EngineError`` as the engine does.

    Compiling for a shape pays when it comes back. So the first shape of a process is compiled,
    which may be the only one, and any other when it is met for the second time; until then NNabla
    computes it. A folder of pictures of a thousand sizes is not compiled a thousand times. What an
    earlier process has compiled is used at once.
    """

    def __init__(self, exports: Sequence[Callable[[], Engine]], graphs: Engine):
        self._exports, self._graphs = list(exports), graphs
        self._met, self._engine, self.used = set(), None, set()

    def prepare(self, shape: Shape, x: np.ndarray | None = None):
        """Make the engine for a shape ready, whichever it is."""
        self._prepared(shape, x)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``, ``RuntimeError`` of an allocation."""
        engine = self._prepared(x.shape, x)
        self._met.add(x.shape)
        self.used.update(engine.used)
        return engine.run(x)

    def close(self):
        """Release the memory of all engines."""
        if self._engine:
            self._engine.close()
        self._graphs.close()

    def _prepared(self, shape, x) -> Engine:
        """The engine for a shape, ready; one that cannot be is given up for good."""
        while True:
            engine = self._engine_for(shape)
            try:
                engine.prepare(shape, x)
                return engine
            except EngineError as error:
                self._give_up(error)

    def _engine_for(self, shape) -> Engine:
        while self._engine is None and self._exports:
            try:
                self._engine = self._exports[0]()
            except EngineError as error:
                self._give_up(error)
        engine = self._engine
        pays = not self._met or shape in self._met
        return engine if engine and (pays or engine.is_ready(shape)) else self._graphs

    def _give_up(self, error):
        LOG.warning('%s; the next engine is tried', error)
        self._engine = None
        del self._exports[0]
