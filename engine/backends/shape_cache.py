"""A least-recently-used cache of compiled models, one for each input shape."""

from typing import Any

from common import machine
from common.lru import LeastRecentlyUsed
from engine.backends.base import MIN_CACHED_SHAPES, Shape


class ShapeCache(LeastRecentlyUsed[Shape, Any]):
    """A cache of ``MIN_CACHED_SHAPES`` models, or of as many as :meth:`reserve` has requested.

    The cache grows beyond ``MIN_CACHED_SHAPES`` only while the machine's free memory exceeds the
    memory that this process uses. So its growth stops when the process uses about half of the
    memory available to it.
    """

    def __init__(self) -> None:
        self._most = MIN_CACHED_SHAPES
        super().__init__(
            lambda count: (
                count >= MIN_CACHED_SHAPES and (count >= self._most or not _memory_to_spare())
            )
        )

    def reserve(self, shapes: int) -> None:
        """Keep models for two images with ``shapes`` shapes each: portrait and landscape."""
        self._most = max(MIN_CACHED_SHAPES, 2 * shapes)


def _memory_to_spare() -> bool:
    return machine.free_memory() > machine.resident_memory()
