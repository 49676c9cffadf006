"""What backends, the runtimes of their exports and the models of these have in common.

An export is used for a shape only after its maps have been compared with NNabla's
(:mod:`engine.backends.exported`); it is kept compiled, so that later processes start at once
(:mod:`engine.backends.disk_cache`).
"""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the commands' options need the names before it is known what is installed
    import numpy as np

Shape = tuple[int, ...]  # (N, 3, H, W)

NNABLA, AUTO = 'nnabla', 'auto'
FLOAT32 = 'float32'  # the precision that all backends have
MIN_CACHED_SHAPES = 4  # shapes kept ready, at least: portraits and landscapes, and as many again


class Backend(Protocol):
    """Computes a network's maps, with the parameters that are registered when it is first used."""

    @property
    def used(self) -> Collection[str]:
        """Names of the backends that maps come from."""

    @property
    def threads(self) -> int:
        """How many threads compute on the CPU."""

    def reserve(self, shapes: int) -> None:
        """Keep as many shapes ready as an image is seen in, where the memory suffices."""

    def run(self, x: np.ndarray) -> np.ndarray:
        """Normalised float32 (N, 3, H, W) -> the network's logits (N, classes, h, w), float32.

        Raises ``MemoryError``, ``BackendError``.
        """

    def close(self) -> None:
        """Release the memory; the next :meth:`run` makes ready anew."""


class CompilingBackend(Backend, Protocol):
    """A backend that compiles the network for each shape."""

    def is_ready(self, shape: Shape) -> bool:
        """Whether :meth:`run` has nothing to compile for a shape."""


class Model(Protocol):
    """A network that a runtime has compiled for one shape."""

    def run(self, x: np.ndarray) -> np.ndarray:
        """The maps of ``x``; raises ``MemoryError``, ``BackendError``."""

    def payload(self) -> bytes:
        """What :meth:`Runtime.load` makes the model of again, in a later process."""


class Runtime(Protocol):
    """Runs networks that are exported to ONNX; ``str`` of it is shown to the user."""

    @property
    def name(self) -> str:
        """The backend's."""

    @property
    def precision(self) -> str:
        """Of the numbers, such as ``float32``."""

    @property
    def threads(self) -> int:
        """How many compute on the CPU."""

    @property
    def versions(self) -> Mapping[str, str]:
        """By package, those that what is kept of a model is for."""

    @property
    def fits(self) -> str:
        """What else that depends on, such as the kind of CPU."""

    def exact(self) -> Runtime:
        """The same in float32."""

    def compile(self, onnx: bytes, inputs: Sequence[np.ndarray] | None) -> Model:
        """Compile an ONNX model with the input ``image`` and the output ``maps``.

        Args:
            onnx: The file's content.
            inputs: Images as inputs, which ranges of values are found on; None for float32.

        Raises:
            BackendError: The runtime cannot take the network.
            MemoryError: It is too large.
        """

    def load(self, payload: bytes) -> Model:
        """Return the model of a payload; raises ``BackendError``, ``MemoryError``."""
