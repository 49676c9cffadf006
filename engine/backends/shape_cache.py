"""A least-recently-used cache of compiled models, one for each input shape."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from common import machine
from engine.backends.base import KEPT, Shape


class ShapeCache(OrderedDict):
    """What was made for the latest shapes: for ``KEPT`` of them, or for as many as ``need`` says.

    Beyond ``KEPT`` only while the machine has as much memory left as this process has taken, so
    that it never takes more than about half of what there is for it.
    """

    def __init__(self):
        super().__init__()
        self._most = KEPT

    def need(self, shapes: int) -> None:
        """Keep what is made for two images that are seen in as many shapes: a camera's portraits
        and landscapes.
        """
        self._most = max(KEPT, 2 * shapes)

    def get_or_make(self, shape: Shape, make: Callable[[], Any]) -> Any:
        """What was made for a shape; the oldest make room before something new is made."""
        if shape not in self:
            while len(self) >= KEPT and (len(self) >= self._most or not _memory_to_spare()):
                self.popitem(last=False)
            self[shape] = make()
        self.move_to_end(shape)
        return self[shape]


def _memory_to_spare() -> bool:
    return machine.free_memory() > machine.own_memory()
