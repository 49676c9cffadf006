"""Live streams: an orderly end by Ctrl-C, and a video that plays as fast as it happened."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MIN_RATE = 1.0  # frames per second of the written video


@contextmanager
def ended_by_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C, or SIGTERM, has come since.

    The first signal only ends the stream, so that the video is written whole; a second one has its
    usual effect. Threads other than the main one receive no signals.
    """
    ended = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield ended.is_set
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(*_: object) -> None:
        ended.set()
        restore()

    for number in SIGNALS:
        signal.signal(number, end)
    try:
        yield ended.is_set
    finally:
        restore()


def rate_for(stated: float, seconds: float) -> float:
    """Return the frames per second of a video of which each frame takes some time.

    Args:
        stated: Frames per second of the stream.
        seconds: Time that one frame takes.
    """
    return round(min(stated, max(MIN_RATE, 1 / max(seconds, 1e-3))), 1)


class PacedVideo:
    """Appends pictures to a video so that it plays as fast as they came.

    A picture is repeated until the next one is due, and left out if the next one comes too early.

    Args:
        append: Appends a picture to the video.
        rate: Frames per second of the video.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        append: Callable[[np.ndarray], None],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._append, self._rate, self._clock = append, rate, clock
        self._start: float | None = None
        self._written = 0
        self._latest: np.ndarray | None = None

    def __call__(self, picture: np.ndarray) -> None:
        """Append the next picture."""
        now = self._clock()
        if self._start is None:
            self._start = now
        due = round((now - self._start) * self._rate)
        while self._latest is not None and self._written < due:
            self._append(self._latest)
            self._written += 1
        if self._written <= due + 1:  # a frame early at most
            self._append(picture)
            self._written += 1
        self._latest = picture
