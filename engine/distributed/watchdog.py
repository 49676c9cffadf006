"""A process that waits for others for ever ends the job instead."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Calls ``alarm(message)``, from a thread, when nothing has moved for ``seconds``.

    They are seconds in which this process could have moved: while it is stopped, as by Ctrl-Z, none
    pass. armed: else it does nothing, as for a process that has nobody to wait for.

    with Watchdog(600, processes.end_job) as watchdog:
        watchdog.note_progress('iteration 17')
    """

    def __init__(self, seconds: float, alarm: Callable[[str], None], *, armed: bool = True):
        self._seconds, self._alarm, self._armed = seconds, alarm, armed
        self._moves, self._latest, self._paused = 0, 'the start', False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def note_progress(self, what: str):
        """Note progress."""
        self._moves, self._latest = self._moves + 1, what

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No time passes inside: another process is at work, whose own watchdog watches it."""
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
                    f'nothing has moved for {self._seconds:g} seconds since {self._latest}: one of '
                    'the processes hangs; continue with --resume, or allow more with --timeout'
                )
                return
