"""The interface that all backends have, and their names.

An export is used for a shape only after its maps have been compared with NNabla's
(:mod:`engine.backends.exported`); it is kept compiled, so that later processes start at once
(:mod:`engine.backends.disk_cache`).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the commands' options need the names before it is known what is installed
    import numpy as np

Shape = tuple[int, ...]  # (N, C, H, W)

BACKENDS = ('nnabla', 'onnxruntime', 'openvino', 'tensorrt')
AUTO = 'auto'
PRECISIONS = ('float32', 'bfloat16', 'int8')
KEPT = 4  # shapes kept ready, at least: portraits and landscapes, and as many again


class Backend(Protocol):
    """Computes a network's maps, with the parameters that are registered when it is first used."""

    @property
    def used(self) -> Collection[str]:
        """Names of the backends that maps come from."""

    @property
    def threads(self) -> int:
        """How many it computes with on the CPU."""

    def need(self, shapes: int) -> None:
        """Keep as many shapes ready as an image is seen in, where the memory suffices."""

    def run(self, x: 'np.ndarray') -> 'np.ndarray':
        """Normalised float32 (N, 3, H, W) -> the network's logits (N, classes, h, w), float32.

        Raises ``MemoryError``, ``BackendError``.
        """

    def close(self) -> None:
        """Release the memory; the next :meth:`run` makes ready anew."""


class CompiledBackend(Backend, Protocol):
    """A backend that has to compile a network for each shape."""

    def is_ready(self, shape: Shape) -> bool:
        """Whether :meth:`run` has nothing to compile for a shape."""
