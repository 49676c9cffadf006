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
        self._met, self._engine, self._done = set(), None, set()

    @property
    def used(self) -> set[str]:
        """Names of the engines that have computed maps."""
        current = self._engine.used if self._engine else set()
        return self._graphs.used | self._done | current

    def prepare(self, shape: Shape, x: np.ndarray | None = None):
        """Make the engine for a shape ready, whichever it is."""
        while (engine := self._engine_for(shape)) is not self._graphs:
            try:
                engine.prepare(shape, x)
                break
            except EngineError as error:
                self._give_up(error)
        else:
            self._graphs.prepare(shape)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``, ``RuntimeError`` of an allocation."""
        shape = x.shape
        while (engine := self._engine_for(shape)) is not self._graphs:
            try:
                result = engine.run(x)
                break
            except EngineError as error:
                self._give_up(error)
        else:
            result = self._graphs.run(x)
        self._met.add(shape)
        return result

    def close(self):
        """Release the memory of all engines."""
        if self._engine:
            self._engine.close()
        self._graphs.close()

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
        if self._engine:
            self._done |= self._engine.used
        self._engine = None
        del self._exports[0]
