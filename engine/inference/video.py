"""Video files: frames in, frames out, through the FFmpeg that comes with OpenCV."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError, UserError
from common.files import replacing
from datasets.image_files import silent_opencv

CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
COUNTED = ('.mp4', '.m4v', '.mov', '.avi')  # of the others FFmpeg estimates the number of frames


class Incomplete(InputError):
    """A video has fewer frames than its header promises; those that it has were used."""


class Video:
    """A video that is read frame by frame, once. frames: how many its header promises, 0 when it
    does not say.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            path.open('rb').close()
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror})') from error
        with silent_opencv():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f'{path}: not a video that FFmpeg reads, or damaged')
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

    def check_complete(self, count: int):
        """Raise ``Incomplete`` when ``count`` frames could be read and the header promises more.

        Where the number of frames is an estimate, a tenth may be missing.
        """
        exact = self._path.suffix.lower() in COUNTED
        if count < (self.frames if exact else int(self.frames * 0.9)):
            raise Incomplete(
                f'{self._path}: its header promises {self.frames} frames, {count} can be read'
            )


@contextmanager
def writing(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a BGR frame to the video ``path``, which appears when the block ends
    well. Video codecs need even sides: an odd one grows by a pixel, its last row or column again.

    The first frame raises ``InputError`` when no video of its size can be encoded.
    """
    with replacing(path) as temporary:
        writer, count = None, 0

        def append(frame):
            nonlocal writer, count
            odd = [(0, side % 2) for side in frame.shape[:2]]
            frame = np.pad(frame, [*odd, (0, 0)], mode='edge')
            if writer is None:
                codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
                temporary.touch()  # an OSError says more than a writer that does not open
                with silent_opencv():
                    writer = cv2.VideoWriter(str(temporary), codec, rate, frame.shape[1::-1])
                if not writer.isOpened():
                    raise InputError(
                        f'{path}: {path.suffix} cannot hold {frame.shape[1]}x{frame.shape[0]} '
                        f'pixels at {rate:g} frames a second'
                    )
            writer.write(frame)
            count += 1

        try:
            yield append
        finally:
            if writer is not None:
                writer.release()
        if count and _frames_in(temporary) < count:
            raise UserError(f'{path}: cannot be written completely; is the disk full?')


def check_format(path: Path):
    """Raise ``UserError`` when no video format has the ending of ``path``."""
    if path.suffix.lower() not in CODECS:
        raise UserError(f'{path}: videos are written as {", ".join(CODECS)}')


def _frames_in(path: Path) -> int:
    """How many frames a video has, whatever its header says: FFmpeg writes that first."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    return count
