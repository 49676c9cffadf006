"""What all live streams have in common: the newest frame counts, and a dead stream ends."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from common.errors import InputError
from engine.inference.sources import Stream
from engine.inference.video import USUAL_RATE, IncompleteVideo

OPEN_SECONDS, FRAME_SECONDS = 20.0, 10.0  # limits for opening a stream, and for each frame
POLL_SECONDS = 0.1  # between two looks whether the user has ended the stream


class StreamFrames(ABC):
    """The frames of a live stream; it can be iterated once.

    Each iteration takes the newest frame, and those before it are dropped.

    Args:
        stream: The stream.
        is_ended: Returns whether the user has ended the stream.

    Attributes:
        name: What messages call the stream.
        frames: 0: nobody knows their number.
        is_live: True.
        rate: Frames per second that the stream states, or a usual number.
        dropped: Number of frames that were dropped so far.
    """

    frames, is_live = 0, True

    def __init__(self, stream: Stream, is_ended: Callable[[], bool]):
        self.name, self._is_ended = stream.name, is_ended
        self.rate, self.dropped = USUAL_RATE, 0
        self._failure: str | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, (H, W, 3) uint8, BGR; raise ``InputError`` if there is no frame.

        The iteration ends at a frame that does not come in time; :meth:`check_complete` reports it.
        """
        count, size = 0, None
        while (frame := self._next_frame()) is not None:
            if size not in (None, frame.shape[:2]):
                self._failure = 'the size of its frames changes'
                break
            count, size = count + 1, frame.shape[:2]
            yield frame
        if not count and not self._is_ended():
            raise InputError(f'{self.name}: {self._failure or "has no frame"}')

    def check_complete(self, count: int) -> None:
        """Raise ``IncompleteVideo`` if the stream failed after ``count`` frames."""
        if self._failure is not None and not self._is_ended():
            raise IncompleteVideo(
                f'{self.name}: {self._failure} after frame {count}; what came before it is written'
            )

    @abstractmethod
    def close(self) -> None:
        """End what reads the stream."""

    @abstractmethod
    def _next_frame(self) -> np.ndarray | None:
        """Wait for the next frame; None at the end, with the failure set if it is one."""

    def _wait(self, comes: Callable[[float], bool], seconds: float) -> bool:
        """Wait until something comes; return False if the user ends the stream, or it is dead.

        Args:
            comes: Waits so many seconds at most, and returns whether it has come.
            seconds: The limit.
        """
        deadline = time.monotonic() + seconds
        while not comes(POLL_SECONDS):
            if self._is_ended():
                return False
            if time.monotonic() > deadline:
                self._failure = f'sent nothing for {seconds:g} s'
                return False
        return not self._is_ended()
