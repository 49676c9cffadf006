"""A least-recently-used cache of compiled models, one for each input shape."""

from typing import Any

from common import machine
from common.lru import LeastRecentlyUsed
from engine.backends.base import KEPT, Shape


class ShapeCache(LeastRecentlyUsed[Shape, Any]):
    """The models of the latest ``KEPT`` shapes, or of as many as :meth:`need` asks for.

    Beyond ``KEPT`` only while the machine has as much memory left as this process has taken, so
    that it never takes more than about half of what there is for it.
    """

    def __init__(self) -> None:
        self._most = KEPT
        super().__init__(
            lambda count: count >= KEPT and (count >= self._most or not _memory_to_spare())
        )

    def need(self, shapes: int) -> None:
        """Keep what is made for two images that are seen in as many shapes: a camera's portraits
        and landscapes.
        """
        self._most = max(KEPT, 2 * shapes)


def _memory_to_spare() -> bool:
    return machine.free_memory() > machine.resident_memory()
