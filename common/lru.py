"""A least-recently-used cache."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar('Key', bound=Hashable)
Value = TypeVar('Value')


class LeastRecentlyUsed(dict[Key, Value], Generic[Key, Value]):
    """Values by key, the one that was used longest ago first.

    Args:
        is_full: Asked before a value is made, with the number of values in the cache, as often as
            it says so and there are some: each time the first of them is dropped. A number stands
            for the most that the cache holds.
    """

    def __init__(self, is_full: int | Callable[[int], bool]) -> None:
        super().__init__()
        self._is_full = (lambda count: count >= is_full) if isinstance(is_full, int) else is_full

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key, made where there is none; what it replaces is dropped before,
        so that both are never in memory. An exception of ``make`` leaves the rest in the cache.
        """
        if key in self:
            value = self.pop(key)
        else:
            while self and self._is_full(len(self)):
                del self[next(iter(self))]
            value = make()
        self[key] = value
        return value
