"""The fastest engine that is right: an export, or NNabla where there is none or it does not pay."""

from collections.abc import Callable, Sequence

import numpy as np

from command import LOG
from engine.engines import Engine
from engine.engines.errors import EngineError


class Auto:
    """Exports in the order of preference, and NNabla.

    exports: functions that make an export's engine, called when the one before has failed; they
    raise ``EngineError`` as the engine does.

    Compiling for a shape pays when it comes back. So the first shape of a process is compiled,
    which may be the only one, and any other when it is met for the second time; until then NNabla
    computes it. A folder of pictures of a thousand sizes is not compiled a thousand times. What an
    earlier process has compiled is used at once.

    An engine that cannot be compiled, or that fails on an input, is given up for good; one that
    lacks memory for a shape only for that shape, which NNabla then does.
    """

    def __init__(self, exports: Sequence[Callable[[], Engine]], graphs: Engine):
        self._exports, self._graphs = list(exports), graphs
        self._met, self._too_large, self._engine, self.used = set(), set(), None, set()
        self._shapes = 1

    @property
    def threads(self) -> int:
        """Of the engine that is preferred now."""
        return (self._engine or self._graphs).threads

    def need(self, shapes: int):
        """Keep as many shapes ready as an image is seen in."""
        self._shapes = shapes
        for engine in filter(None, (self._engine, self._graphs)):
            engine.need(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``."""
        engine, maps = self._first_that_can(x)
        self._met.add(x.shape)
        self.used.update(engine.used)
        if engine is self._graphs and self._engine:
            engine.close()  # the next input of this shape is not for it
        return maps

    def close(self):
        """Release the memory of all engines."""
        if self._engine:
            self._engine.close()
        self._graphs.close()

    def _first_that_can(self, x) -> tuple[Engine, np.ndarray]:
        """The engine that computes the logits of ``x``, and the logits."""
        shape = x.shape
        while True:
            engine = self._engine_for(shape)
            try:
                return engine, engine.run(x)
            except EngineError as error:
                self._give_up(error.what)
            except MemoryError:
                if engine is self._graphs:
                    raise
                names, size = ', '.join(engine.used), f'{shape[2]}x{shape[3]}'
                LOG.warning('%s: not enough memory for %s, which NNabla does', names, size)
                engine.close()
                self._too_large.add(shape)

    def _engine_for(self, shape) -> Engine:
        if shape in self._too_large:
            return self._graphs
        while self._engine is None and self._exports:
            try:
                self._engine = self._exports[0]()
                self._engine.need(self._shapes)
            except EngineError as error:
                self._give_up(error.what)
        engine = self._engine
        pays = not self._met or shape in self._met
        return engine if engine and (pays or engine.is_ready(shape)) else self._graphs

    def _give_up(self, reason: str):
        LOG.warning('%s; the next engine is tried', reason)
        if self._engine:
            self._engine.close()
        self._engine = None
        del self._exports[0]
