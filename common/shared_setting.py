"""A setting of the whole process that several threads need for a while."""

import threading
from collections.abc import Callable
from typing import Any


class SharedSetting:
    """A context manager that changes a setting while at least one thread is inside.

    Args:
        change: Changes the setting and returns its value from before.
        restore: Receives that value.
    """

    def __init__(self, change: Callable[[], Any], restore: Callable[[Any], object]):
        self._change, self._restore = change, restore
        self._lock, self._inside, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._change()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._restore(self._before)
