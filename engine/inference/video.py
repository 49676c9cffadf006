"""Read and write video files frame by frame with the FFmpeg that comes with OpenCV."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError, UserError
from common.files import replacing
from common.log import LOG
from datasets import orientation
from datasets.decoding import decoding, reason_of
from datasets.keys import MAX_PIXELS
from datasets.library_settings import silent_opencv
from engine.inference import video_formats, video_orientation, video_packets
from engine.inference.video_sizes import FFMPEG_PIXELS

CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
# Formats whose header holds the number of frames; FFmpeg estimates the number in other formats.
EXACT_FRAME_COUNTS = (video_formats.ISO, video_formats.AVI)
USUAL_RATE = 25.0  # frames per second of a video that states no number, or an impossible one
RATES = (0.01, 65535)  # frames per second that FFmpeg can write


class IncompleteVideo(InputError):
    """A video has fewer frames than its header promises; the readable frames were processed."""


class VideoReader:
    """A reader of a video, frame by frame; it can be iterated once.

    Frames are turned upright, as players show them.

    Args:
        path: The file; its content shows its format, see :mod:`engine.inference.video_formats`.
        max_pixels: Pixels of the largest frame that is read.

    Attributes:
        frames: Number of frames that the header promises; 0 if it states no number.
        rate: Frames per second.
        is_live: False: every frame is read.

    Raises:
        InputError: The file cannot be read, is of another format, or claims larger frames.
    """

    is_live = False

    def __init__(self, path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS):
        path = Path(path)
        self._path, self._max_pixels = path, max_pixels
        self._failure: str | None = None
        with decoding(path), silent_opencv:
            header = video_formats.read_header(path)
            for size in header.sizes:
                self._check_size(*size)
            self._capture = _open(path)
            if not self._capture.isOpened():
                raise InputError(f'{path}: damaged or truncated video, {_why_not_opened(header)}')
            opened = map(self._fact, (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            self._check_size(*map(int, opened))
            self._check_constant(video_packets.sizes_in(_open(path)))
            self.frames = max(0, int(self._fact(cv2.CAP_PROP_FRAME_COUNT)))
            self._is_exact = header.name in EXACT_FRAME_COUNTS
            self.rate = self._usable_rate()
            # Whether OpenCV turns frames itself differs between its versions.
            self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
            angle = self._fact(cv2.CAP_PROP_ORIENTATION_META)
            self._orientation = video_orientation.of_video(header.moov, angle)

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

    def _fact(self, number: int) -> float:
        """Return a property of the video; 0 if the file states no finite number."""
        value = self._capture.get(number)
        return value if math.isfinite(value) else 0.0

    def _usable_rate(self) -> float:
        rate = self._fact(cv2.CAP_PROP_FPS) or USUAL_RATE
        if RATES[0] <= rate <= RATES[1]:
            return rate
        LOG.warning('%s: claims %g frames per second; %g are used', self._path, rate, USUAL_RATE)
        return USUAL_RATE

    def _check_size(self, width: int, height: int) -> None:
        """Raise ``InputError`` for frames of more pixels than are read."""
        pixels, limit = width * height, min(self._max_pixels, FFMPEG_PIXELS)
        if pixels > limit:
            option = f', or set max_pixels (--set max_pixels={pixels})'
            raise InputError(
                f'{self._path}: frames of {width}x{height} pixels, but at most {limit} are read; '
                f'make it smaller with another program{option if pixels <= FFMPEG_PIXELS else ""}'
            )

    def _check_constant(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Raise ``InputError`` for frames of several sizes, which OpenCV does not read right."""
        if len(sizes) > 1:
            (width, height), other = sizes[:2]
            raise InputError(
                f'{self._path}: its frames change from {width}x{height} to {other[0]}x{other[1]} '
                'pixels; give all one size with another program, such as ffmpeg with '
                f'-vf scale={width}:{height}'
            )

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
        if count < (self.frames if self._is_exact else int(self.frames * 0.9)):
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


def _why_not_opened(header: video_formats.VideoHeader) -> str:
    if header.name == video_formats.ISO and header.moov is None:
        return 'without the box moov, which is often the last one; copy or download it again'
    return 'or encoded in a way that FFmpeg does not read; convert it into MP4'


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
