"""Choose a backend for each input shape: the preferred exported one that works, else NNabla."""

from collections.abc import Callable, Sequence

import numpy as np

from common.log import LOG
from engine.backends.base import Backend, CompilingBackend, Shape
from engine.backends.errors import BackendError
from engine.backends.nnabla import NnablaBackend

MAX_NNABLA_SECONDS = 5  # compiling and comparing a part takes about as long


class AutoBackend:
    """Exported backends in order of preference, with NNabla as the fallback.

    Compilation pays off when a shape recurs. The first shape of a process is compiled at once,
    because it may be the only shape. Any other shape is compiled when it occurs for the second
    time, and NNabla computes it until then. So a folder of images of a thousand sizes does not
    cause a thousand compilations. Compilation also pays off for a single large input, for which
    NNabla would need more than ``MAX_NNABLA_SECONDS``. A model that an earlier process has compiled
    is used at once.

    A backend that fails to compile or fails on an input is never used again. A backend that runs
    out of memory for a shape is not used for that shape again, and NNabla computes it.

    Args:
        exports: Functions that create an exported backend, the preferred one first. A function is
            called only after the backends before it have failed. Both the function and its backend
            may raise ``BackendError``.
        nnabla: NNabla's backend.
        eager: Whether to compile every shape at its first use. Then the same backend computes all
            inputs of a shape, and a result does not depend on the inputs before it.

    Attributes:
        used: Names of the backends that have computed logits so far.
    """

    def __init__(
        self,
        exports: Sequence[Callable[[], CompilingBackend]],
        nnabla: NnablaBackend,
        eager: bool = False,
    ):
        self._exports, self._nnabla, self._eager = list(exports), nnabla, eager
        self._backend: CompilingBackend | None = None
        self._seen: set[Shape] = set()
        self._too_large: set[Shape] = set()
        self.used: set[str] = set()
        self._shapes = 1

    @property
    def threads(self) -> int:
        """The number of CPU threads of the preferred backend, or of NNabla if there is none."""
        return (self._backend or self._nnabla).threads

    def reserve(self, shapes: int) -> None:
        """Keep models for at least ``shapes`` input shapes, the number that one image needs."""
        self._shapes = shapes
        self._nnabla.reserve(shapes)
        if self._backend:
            self._backend.reserve(shapes)

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of ``x``; raise ``MemoryError`` if even NNabla runs out of memory."""
        backend, maps = self._run_first_capable(x)
        self._seen.add(x.shape)
        self.used.update(backend.used)
        if backend is self._nnabla and self._backend:
            # The preferred backend computes the next input of this shape, unless it is too large.
            backend.close()
        return maps

    def close(self) -> None:
        """Release the memory of all backends."""
        if self._backend:
            self._backend.close()
        self._nnabla.close()

    def _run_first_capable(self, x: np.ndarray) -> tuple[Backend, np.ndarray]:
        """Return the first backend that can compute the logits of ``x``, and the logits."""
        shape = x.shape
        while True:
            backend = self._backend_for(x)
            try:
                return backend, backend.run(x)
            except BackendError as error:
                self._abandon_backend(error.what)
            except MemoryError:
                if backend is self._nnabla:
                    raise
                names, size = ', '.join(backend.used), f'{shape[2]}x{shape[3]}'
                LOG.warning('%s: not enough memory for %s; NNabla computes it', names, size)
                backend.close()
                self._too_large.add(shape)

    def _backend_for(self, x: np.ndarray) -> Backend:
        """Return the preferred backend if compiling pays off or is unnecessary, else NNabla."""
        shape = x.shape
        if shape in self._too_large:
            return self._nnabla
        while self._backend is None and self._exports:
            try:
                backend = self._exports[0]()
                backend.reserve(self._shapes)
                self._backend = backend
            except BackendError as error:
                self._abandon_backend(error.what)
        preferred = self._backend
        if preferred is None:
            return self._nnabla
        pays = self._eager or not self._seen or shape in self._seen or preferred.is_ready(shape)
        return preferred if pays or self._nnabla_is_slow(x) else self._nnabla

    def _nnabla_is_slow(self, x: np.ndarray) -> bool:
        """Return whether compiling pays off for a single input, and log it if so."""
        seconds = self._nnabla.expected_seconds(x)
        if seconds <= MAX_NNABLA_SECONDS:
            return False
        LOG.info('compiling for %dx%d, as NNabla would take %.0f s', *x.shape[2:], seconds)
        return True

    def _abandon_backend(self, reason: str) -> None:
        """Close the preferred backend, remove it from the list and log why."""
        LOG.warning('%s; trying the next backend', reason)
        if self._backend:
            self._backend.close()
        self._backend = None
        del self._exports[0]
