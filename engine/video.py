"""Video files: frames in, frames out, through the FFmpeg that comes with OpenCV."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from command import InputError, UserError
from files import replacing

CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}


class Video:
    """A video that is read frame by frame, once. frames: how many its header promises, 0 when it
    does not say.
    """

    def __init__(self, path: Path):
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            reason = (
                'not a video that FFmpeg reads, or damaged' if path.is_file() else 'no such file'
            )
            raise InputError(f'{path}: {reason}')
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0  # frames a second

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames as ``uint8`` BGR (H, W, 3); raises ``InputError`` when there is none."""
        count = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            count += 1
            yield frame
        self._capture.release()
        if not count:
            raise InputError(f'{self._path}: no frame can be read')


@contextmanager
def writing(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a BGR frame to the video ``path``, which appears when the block ends
    well. Video codecs need even sides: an odd one grows by a pixel, its last row or column again.
    """
    with replacing(path) as temporary:
        writer, count = None, 0

        def append(frame):
            nonlocal writer, count
            odd = [(0, side % 2) for side in frame.shape[:2]]
            frame = np.pad(frame, [*odd, (0, 0)], mode='edge')
            if writer is None:
                codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
                writer = cv2.VideoWriter(str(temporary), codec, rate, frame.shape[1::-1])
            writer.write(frame)
            count += 1

        try:
            yield append
        finally:
            if writer is not None:
                writer.release()
        if count and _frames_in(temporary) < count - 1:  # some containers round their length
            raise UserError(f'{path}: cannot be written completely; is the disk full?')


def check_format(path: Path):
    """Raise ``UserError`` when no video format has the ending of ``path``."""
    if path.suffix.lower() not in CODECS:
        raise UserError(f'{path}: videos are written as {", ".join(CODECS)}')


def _frames_in(path: Path) -> int:
    try:
        return Video(path).frames
    except InputError:
        return 0
