"""Read and write video files frame by frame with the FFmpeg that comes with OpenCV."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError, UserError
from common.files import replacing
from datasets import orientation
from datasets.decoding import decoding, reason_of
from datasets.library_settings import silent_opencv
from engine.inference import video_orientation

CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
# Formats whose header holds the number of frames; FFmpeg estimates the number in other formats.
EXACT_FRAME_COUNTS = ('.mp4', '.m4v', '.mov', '.avi')


class IncompleteVideo(InputError):
    """A video has fewer frames than its header promises; the readable frames were processed."""


class VideoReader:
    """A reader of a video, frame by frame; it can be iterated once.

    Frames are turned upright, as players show them.

    Attributes:
        frames: Number of frames that the header promises; 0 if it states no number.
        rate: Frames per second.

    Raises:
        InputError: The file cannot be read, or is not a video.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            path.open('rb').close()
        except OSError as error:
            raise InputError(f'{path}: cannot be read ({error.strerror})') from error
        with decoding(path), silent_opencv:
            self._capture = _open(path)
            if not self._capture.isOpened():
                raise InputError(f'{path}: not a video that FFmpeg reads, or damaged')
            self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
            # Whether OpenCV turns frames itself differs between its versions.
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
            angle = self._capture.get(cv2.CAP_PROP_ORIENTATION_META)
            self._orientation = video_orientation.of_video(path, angle)
        self._failure: str | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield upright frames, (H, W, 3) uint8, BGR; raise ``InputError`` if there is no frame.

        The iteration ends at a frame that cannot be decoded; :meth:`check_complete` reports it.
        """
        count = 0
        while (frame := self._next_frame()) is not None:
            count += 1
            yield orientation.upright(frame, self._orientation)
        self._capture.release()
        if not count:
            reason = f' ({self._failure})' if self._failure else ''
            raise InputError(f'{self._path}: no frame can be read{reason}')

    def _next_frame(self) -> np.ndarray | None:
        try:
            with silent_opencv:
                there, frame = self._capture.read()
        except Exception as error:  # the frames before it are good
            self._failure = reason_of(error)
            return None
        return frame if there else None

    def check_complete(self, count: int):
        """Raise ``IncompleteVideo`` if there are more than ``count`` frames.

        The header promises their number. If that is an estimate, a tenth of the frames can be
        missing.
        """
        if self._failure:
            raise IncompleteVideo(
                f'{self._path}: frame {count + 1} cannot be decoded ({self._failure}); the '
                f'{count} before it can be read'
            )
        exact = self._path.suffix.lower() in EXACT_FRAME_COUNTS
        if count < (self.frames if exact else int(self.frames * 0.9)):
            raise IncompleteVideo(
                f'{self._path}: its header promises {self.frames} frames, {count} can be read'
            )


@contextmanager
def video_writer(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a video for writing and yield a function that appends a BGR frame to it.

    The file appears under its name when the block has ended without an exception. Codecs need even
    sides, so the last row or column of an odd side is repeated.

    Args:
        path: Video file; its ending selects the codec.
        rate: Frames per second.

    Raises:
        InputError: On the first frame, if no video of its size can be encoded.
        UserError: The video could not be written completely, or no frame was appended.
    """
    with replacing(path) as temporary:
        writer, count = None, 0

        def append(frame):
            nonlocal writer, count
            odd = [(0, side % 2) for side in frame.shape[:2]]
            frame = np.pad(frame, [*odd, (0, 0)], mode='edge')
            if writer is None:
                codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
                with silent_opencv, _name_for_ffmpeg(temporary) as name:
                    writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, rate, frame.shape[1::-1])
                if not writer.isOpened():
                    raise InputError(
                        f'{path}: {path.suffix} cannot hold {frame.shape[1]}x{frame.shape[0]} '
                        f'pixels at {rate:g} frames per second'
                    )
            with silent_opencv:
                writer.write(frame)
            count += 1

        try:
            yield append
        finally:
            if writer is not None:
                writer.release()
        if not count:
            raise UserError(f'{path}: not written, as there is no frame for it')
        if _frames_in(temporary) < count:
            raise UserError(f'{path}: cannot be written completely; is the disk full?')


def check_format(path: Path):
    """Raise ``UserError`` if the ending of ``path`` belongs to no video format."""
    if path.suffix.lower() not in CODECS:
        raise UserError(f'{path}: videos are written as {", ".join(CODECS)}')


def _frames_in(path: Path) -> int:
    """Count the readable frames; the header does not prove them, as FFmpeg writes it first."""
    capture, count = _open(path), 0
    while capture.grab():
        count += 1
    return count


def _open(path: Path) -> cv2.VideoCapture:
    with _name_for_ffmpeg(path) as name:
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG)


@contextmanager
def _name_for_ffmpeg(path: Path) -> Iterator[str]:
    """Yield a name under which FFmpeg finds a file; it is needed until the file is open.

    FFmpeg takes the beginning of the relative path ``clip:1.mp4`` for a protocol, and OpenCV
    crashes on a name that is not valid UTF-8. OpenCV's other readers would take digits in a name
    for a series of images, so callers name FFmpeg as the reader.
    """
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, f'video{path.suffix}')
            link.symlink_to(absolute)
            yield str(link)
    else:
        yield absolute
