"""A process that waits for others for ever ends the job instead."""

import threading
import time
from collections.abc import Callable


class Watchdog:
    """Calls ``alarm(message)``, from a thread, when nothing has moved for ``seconds``.

    with Watchdog(600, processes.end_job) as watchdog:
        watchdog.moved('iteration 17')
    """

    def __init__(self, seconds: float, alarm: Callable[[str], None]):
        self._seconds, self._alarm = seconds, alarm
        self._moved, self._latest = time.monotonic(), 'the start'
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def moved(self, what: str):
        """Note progress."""
        self._moved, self._latest = time.monotonic(), what

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._end.set()

    def _watch(self):
        while not self._end.wait(min(self._seconds / 10, 1)):
            if time.monotonic() - self._moved > self._seconds:
                self._alarm(
                    f'nothing has moved for {self._seconds:g} seconds since {self._latest}: one of '
                    'the processes hangs; continue with --resume, or allow more with --timeout'
                )
                return
