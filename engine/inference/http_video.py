"""Read videos over HTTP: the MJPEG stream of a camera, and the file of a recording.

FFmpeg receives no address here, and only a file of a format that names no other ones.
"""

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.downloading import http_get
from common.downloading.http_get import Answer
from common.errors import InputError
from common.log import LOG
from datasets import formats, image_files
from datasets.keys import ImageReading
from engine.inference import stream_frames, video_formats
from engine.inference.multipart import parts
from engine.inference.sources import Stream
from engine.inference.stream_frames import StreamFrames
from engine.inference.video import VideoReader

ENDLESS = 1 << 62  # bytes
HTTP_ERRORS = (http_get.AnswerError, http_get.ConnectionFailedError)


@contextmanager
def opened(
    stream: Stream, reading: ImageReading, is_ended: Callable[[], bool]
) -> Iterator['VideoReader | MjpegStream']:
    """Open an address, and yield a reader of the frames.

    Args:
        stream: An address that begins with ``http://`` or ``https://``.
        reading: Settings of the conversion of images, and the limit of pixels.
        is_ended: Returns whether the user has ended the stream.

    Raises:
        InputError: The address delivers no video.
    """
    with (
        _as_input_errors(stream),
        http_get.get(str(stream.source), {}, stream_frames.FRAME_SECONDS) as answer,
    ):
        if answer.status not in http_get.CONTENT:
            raise InputError(f'{stream.name}: {answer}; is the address right?')
        kind = answer.header('Content-Type') or ''
        if kind.lower().startswith('multipart/'):
            reader = MjpegStream(stream, reading, is_ended, answer.blocks(ENDLESS), kind)
            try:
                yield reader
            finally:
                reader.close()
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, 'video')
                _download(stream, answer, path, is_ended)
                with _naming(stream, path):
                    yield VideoReader(path, reading.max_pixels)


class MjpegStream(StreamFrames):
    """The frames of a stream of images, ``multipart/x-mixed-replace``, as cameras send it.

    A thread receives the images, and keeps the newest one without decoding it.

    Args:
        stream: The stream.
        reading: Settings of the conversion of images, and the limit of pixels.
        is_ended: Returns whether the user has ended the stream.
        blocks: The content, in blocks of any size.
        content_type: The header, which names the boundary between images.
    """

    def __init__(
        self,
        stream: Stream,
        reading: ImageReading,
        is_ended: Callable[[], bool],
        blocks: Iterator[bytes],
        content_type: str,
    ):
        super().__init__(stream, is_ended)
        self._reading = reading
        self._change = threading.Condition()
        self._newest: bytes | None = None
        self._is_over = False
        # Each block asks whether the stream is closed: an image may never come.
        wanted = itertools.takewhile(lambda _: not self._is_over, blocks)
        self._images = parts(wanted, content_type)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait until the thread has ended, at its next block or when none comes in time."""
        with self._change:
            self._is_over = True
        self._thread.join()

    def _receive(self) -> None:
        failure = None
        try:
            for image in self._images:
                with self._change:
                    if self._is_over:
                        return
                    self.dropped += self._newest is not None
                    self._newest = image
                    self._change.notify()
        except HTTP_ERRORS as error:
            failure = str(error)
        with self._change:
            self._failure, self._is_over = failure, True
            self._change.notify()

    def _next_frame(self) -> np.ndarray | None:
        problem = None
        while self._wait(self._comes, stream_frames.FRAME_SECONDS):
            with self._change:
                image, self._newest = self._newest, None
            if image is None:  # the stream is over
                self._failure = self._failure or problem
                return None
            try:
                return image_files.decode_image(image, 'an image', self._reading)
            except InputError as error:
                if problem is not None:
                    self._failure = problem
                    return None
                problem = str(error)  # one alone can have been damaged on its way
                self.dropped += 1
        return None

    def _comes(self, seconds: float) -> bool:
        with self._change:
            return self._change.wait_for(
                lambda: self._newest is not None or self._is_over, timeout=seconds
            )


def _download(stream: Stream, answer: Answer, path: Path, is_ended: Callable[[], bool]) -> None:
    """Write a recording to a temporary file.

    Raises:
        InputError: It is none, or has no known length, or too large a one.
        KeyboardInterrupt: The user does not wait for it.
    """
    length = answer.length()
    blocks = answer.blocks(ENDLESS if length is None else length)
    head = b''
    while len(head) < video_formats.HEAD_BYTES and (block := next(blocks, b'')):
        head += block
    if formats.format_of(head[: formats.HEAD_BYTES]):
        raise InputError(
            f'{stream.name}: is an image; pass it on: curl ADDRESS | python infer.py -i -'
        )
    if video_formats.format_of(head[: video_formats.HEAD_BYTES]) is None:
        raise InputError(
            f'{stream.name}: not a video, or of a format that is not read, such as a playlist, '
            'which names other addresses'
        )
    if length is None:
        raise InputError(
            f'{stream.name}: does not say where it ends; endless streams are read as MJPEG over '
            'HTTP, and over rtsp://'
        )
    free = shutil.disk_usage(path.parent).free
    if length > free:
        raise InputError(
            f'{stream.name}: has {length / 1e6:.0f} MB, and the folder of temporary files has room '
            f'for {free / 1e6:.0f} MB; set TMPDIR to a larger folder'
        )
    LOG.info('downloading %s, %.1f MB', stream.name, length / 1e6)
    with open(path, 'wb') as file:
        file.write(head)
        for block in blocks:
            if is_ended():
                raise KeyboardInterrupt
            file.write(block)
        if file.tell() < length:
            LOG.warning('%s: ended after %d of %d bytes', stream.name, file.tell(), length)


@contextmanager
def _as_input_errors(stream: Stream) -> Iterator[None]:
    try:
        yield
    except HTTP_ERRORS as error:
        raise InputError(f'{stream.name}: {error}; is the address right?') from error


@contextmanager
def _naming(stream: Stream, path: Path) -> Iterator[None]:
    """Name the stream instead of its temporary file in the messages of errors."""
    try:
        yield
    except InputError as error:
        raise type(error)(str(error).replace(str(path), stream.name)) from error
