"""The fastest backend that is right: an export, or NNabla where none is there or none pays."""

from collections.abc import Callable, Sequence

import numpy as np

from common.log import LOG
from engine.backends.base import Backend, CompilingBackend, Shape
from engine.backends.errors import BackendError


class AutoBackend:
    """Exports in the order of preference, and NNabla.

    exports: functions that make an export's backend, called when the one before has failed; they
    raise ``BackendError`` as the backend does.

    Compiling for a shape pays when it comes back. So the first shape of a process is compiled,
    which may be the only one, and any other when it is met for the second time; until then NNabla
    computes it. A folder of pictures of a thousand sizes is not compiled a thousand times. What an
    earlier process has compiled is used at once.

    A backend that cannot be compiled, or that fails on an input, is given up for good; one that
    lacks memory for a shape only for that shape, which NNabla then does.
    """

    def __init__(self, exports: Sequence[Callable[[], CompilingBackend]], graphs: Backend):
        self._exports, self._graphs = list(exports), graphs
        self._backend: CompilingBackend | None = None
        self._met: set[Shape] = set()
        self._too_large: set[Shape] = set()
        self.used: set[str] = set()
        self._shapes = 1

    @property
    def threads(self) -> int:
        """Of the backend that is preferred now."""
        return (self._backend or self._graphs).threads

    def reserve(self, shapes: int) -> None:
        """Keep as many shapes ready as an image is seen in."""
        self._shapes = shapes
        self._graphs.reserve(shapes)
        if self._backend:
            self._backend.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The logits of ``x``; raises ``MemoryError``."""
        backend, maps = self._first_that_can(x)
        self._met.add(x.shape)
        self.used.update(backend.used)
        if backend is self._graphs and self._backend:
            backend.close()  # the next input of this shape is not for it
        return maps

    def close(self) -> None:
        """Release the memory of all backends."""
        if self._backend:
            self._backend.close()
        self._graphs.close()

    def _first_that_can(self, x: np.ndarray) -> tuple[Backend, np.ndarray]:
        """The backend that computes the logits of ``x``, and the logits."""
        shape = x.shape
        while True:
            backend = self._backend_for(shape)
            try:
                return backend, backend.run(x)
            except BackendError as error:
                self._give_up(error.what)
            except MemoryError:
                if backend is self._graphs:
                    raise
                names, size = ', '.join(backend.used), f'{shape[2]}x{shape[3]}'
                LOG.warning('%s: not enough memory for %s, which NNabla does', names, size)
                backend.close()
                self._too_large.add(shape)

    def _backend_for(self, shape: Shape) -> Backend:
        if shape in self._too_large:
            return self._graphs
        while self._backend is None and self._exports:
            try:
                backend = self._exports[0]()
                backend.reserve(self._shapes)
                self._backend = backend
            except BackendError as error:
                self._give_up(error.what)
        preferred = self._backend
        pays = not self._met or shape in self._met
        return preferred if preferred and (pays or preferred.is_ready(shape)) else self._graphs

    def _give_up(self, reason: str) -> None:
        LOG.warning('%s; the next backend is tried', reason)
        if self._backend:
            self._backend.close()
        self._backend = None
        del self._exports[0]
