"""A watchdog that ends the job when a process makes no progress."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """A thread that calls ``alarm(message)`` after ``seconds`` without progress.

    with Watchdog(600, processes.end_job) as watchdog:
        watchdog.note_progress('iteration 17')

    Time during which this process is stopped, as by Ctrl-Z, does not count.

    Args:
        seconds: Timeout in seconds.
        alarm: Function that is called once, with an error message.
        armed: Whether to watch at all; unnecessary for a single process, which waits for no other.
    """

    def __init__(self, seconds: float, alarm: Callable[[str], None], *, armed: bool = True):
        self._seconds, self._alarm, self._armed = seconds, alarm, armed
        self._moves, self._latest, self._paused = 0, 'the start', False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def note_progress(self, what: str):
        """Note progress.

        Args:
            what: What has just been reached or finished, such as ``iteration 17``, for the message.
        """
        self._moves, self._latest = self._moves + 1, what

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock inside the block, in which this process waits for another watched one."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __enter__(self):
        if self._armed:
            self._thread.start()
        return self

    def __exit__(self, *exception):
        self._end.set()

    def _watch(self):
        tick = min(self._seconds / 10, 1)
        moves, idle = self._moves, 0.0
        while not self._end.wait(tick):
            idle = idle + tick if moves == self._moves and not self._paused else 0.0
            moves = self._moves
            if idle >= self._seconds:
                self._alarm(
                    f'no progress for {self._seconds:g} seconds since {self._latest}: one of the '
                    'processes hangs; continue with --resume, or allow more with --timeout'
                )
                return
