"""A least-recently-used cache."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar('Key', bound=Hashable)
Value = TypeVar('Value')


class LeastRecentlyUsed(dict[Key, Value], Generic[Key, Value]):
    """A dictionary in the order of use, the least recently used value first.

    Args:
        is_full: Maximum number of values, or a function that receives the number of cached values
            and returns whether the cache is full. The function is called before a value is
            created; while it returns True and the cache is not empty, the first value is dropped.
    """

    def __init__(self, is_full: int | Callable[[int], bool]) -> None:
        super().__init__()
        self._is_full = (lambda count: count >= is_full) if isinstance(is_full, int) else is_full

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the cached value of a key, or create it.

        Old values are dropped before ``make`` runs, so that both are never in memory together. If
        ``make`` raises, the other values stay in the cache.

        Args:
            key: The key.
            make: Creates the value on a cache miss.
        """
        if key in self:
            value = self.pop(key)
        else:
            while self and self._is_full(len(self)):
                del self[next(iter(self))]
            value = make()
        self[key] = value
        return value
