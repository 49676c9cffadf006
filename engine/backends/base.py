"""Protocols of backends, of the runtimes for exported networks, and of compiled models.

An export serves a shape only after its logits have been compared with NNabla's
(:mod:`engine.backends.exported`). The compiled model is cached on disk, so that later processes
start at once (:mod:`engine.backends.disk_cache`).
"""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # command-line options need these names before the installation is checked
    import numpy as np

Shape = tuple[int, ...]  # (N, 3k, H, W), k pictures of a scene

NNABLA, AUTO = 'nnabla', 'auto'
FLOAT32 = 'float32'  # the precision that every backend supports
MIN_CACHED_SHAPES = 4  # two shapes each of portraits and landscapes


class Backend(Protocol):
    """A way to compute a network's logits.

    A backend uses the parameters that are registered at its first use. Threads that share a backend
    call its methods one at a time.
    """

    @property
    def used(self) -> Collection[str]:
        """Names of the backends that have computed logits so far."""

    @property
    def threads(self) -> int:
        """The number of CPU threads."""

    def reserve(self, shapes: int) -> None:
        """Keep models for at least ``shapes`` input shapes, if the memory suffices."""

    def run(self, x: np.ndarray) -> np.ndarray:
        """Compute the network's maps.

        Args:
            x: (N, 3k, H, W) float32, normalised: the k pictures of a scene.

        Returns:
            (N, channels, h, w) float32, at the network's own output resolution: the logits of the
            classes, or the maps of all tasks, one after the other.

        Raises:
            MemoryError: The memory does not suffice for this shape.
            BackendError: The backend cannot compute the network.
        """

    def close(self) -> None:
        """Release the memory; the next call of :meth:`run` builds or loads its model again."""


class CompilingBackend(Backend, Protocol):
    """A backend that compiles the network once for each shape."""

    def is_ready(self, shape: Shape) -> bool:
        """Return whether :meth:`run` can serve a shape without compiling."""


class Model(Protocol):
    """A network that a runtime has compiled for one shape."""

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of ``x`` in a new array; raise ``MemoryError`` or ``BackendError``."""

    def payload(self) -> bytes:
        """Return the bytes from which :meth:`Runtime.load` restores the model."""


class Runtime(Protocol):
    """A runtime for networks exported to ONNX; ``str(runtime)`` is shown to the user."""

    @property
    def name(self) -> str:
        """The backend's name, as ``--backend`` takes it."""

    @property
    def precision(self) -> str:
        """The number format, such as ``float32``."""

    @property
    def threads(self) -> int:
        """The number of CPU threads."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Package versions on which a stored payload depends, by package."""

    @property
    def fits(self) -> str:
        """The other facts on which a stored payload depends, such as the CPU model, as text."""

    def exact(self) -> Runtime:
        """Return the same runtime in float32."""

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> Model:
        """Compile an ONNX model with the input ``image`` and the output ``maps``.

        Args:
            onnx: The content of the ONNX file.
            inputs: Normalised images on which value ranges are calibrated; None for float32.

        Raises:
            BackendError: The runtime does not support the network.
            MemoryError: The memory does not suffice for the network.
        """

    def load(self, payload: bytes) -> Model:
        """Restore a model from its payload; raise ``BackendError`` or ``MemoryError``."""
