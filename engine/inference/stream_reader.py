"""Read a camera or a stream of a network frame by frame, with limits of time and memory."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from common.downloading.http_get import without_login
from common.errors import InputError
from engine.inference import stream_child
from engine.inference.sources import Stream
from engine.inference.video import RATES, USUAL_RATE, IncompleteVideo

OPEN_SECONDS, FRAME_SECONDS = 20, 10  # for opening a stream, and for each frame
POLL_SECONDS = 0.1  # between two looks whether the user has ended the stream
MAX_MESSAGE_BYTES = 1 << 16
MAX_RATE = 60.0  # frames per second; streams without a rate of their own claim thousands
# What FFmpeg may open for an address of each kind. None of the formats names other files.
PROTOCOLS = {
    'http': 'http,https,httpproxy,tls,tcp',
    'rtsp': 'rtsp,rtp,srtp,udp,tcp,tls',
}
FORMATS = 'mov,mp4,avi,matroska,webm,mpegts,mpeg,ogg,flv,asf,mpjpeg,mjpeg,h264,hevc,rtsp'
OPTIONS = 'OPENCV_FFMPEG_CAPTURE_OPTIONS'  # environment variable that OpenCV passes to FFmpeg


class StreamReader:
    """A reader of a camera or stream, frame by frame; it can be iterated once.

    Of a live stream, each iteration takes the newest frame, and those before it are dropped. A
    recording, whose number of frames is known, is read without gaps.

    Args:
        stream: What to open.
        max_pixels: Pixels of the largest frame that is read.
        is_ended: Returns whether the user has ended the stream.

    Attributes:
        frames: Number of frames of a recording; 0 for a live stream.
        is_live: Whether frames are dropped that are not wanted in time.
        rate: Frames per second.
        dropped: Number of frames that were dropped so far.

    Raises:
        InputError: It cannot be opened in time, or its frames are too large.
    """

    def __init__(
        self, stream: Stream, max_pixels: int, is_ended: Callable[[], bool] = lambda: False
    ):
        self._stream, self._is_ended = stream, is_ended
        self._max_pixels = max_pixels
        self._failure: str | None = None
        self.dropped = 0
        self._process, self._connection = _start(stream)
        try:
            facts = self._answer(OPEN_SECONDS)
            if facts is None or facts['kind'] == 'closed':
                raise InputError(self._why_not_opened(facts))
            self._check_size(*facts['size'])
        except BaseException:
            self.close()
            raise
        self.frames, self.is_live = facts['frames'], facts['is_live']
        rate = facts['rate']
        self.rate = rate if RATES[0] <= rate <= MAX_RATE else USUAL_RATE

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, (H, W, 3) uint8, BGR; raise ``InputError`` if there is no frame.

        The iteration ends at a frame that does not come in time; :meth:`check_complete` reports it.
        """
        count, shape = 0, None
        try:
            while (frame := self._next_frame(count)) is not None:
                if shape not in (None, frame.shape):
                    self._failure = f'its frames change from {shape} to {frame.shape}'
                    break
                count, shape = count + 1, frame.shape
                yield frame
        finally:
            self.close()
        if not count and not self._is_ended():
            raise InputError(f'{self._stream.name}: {self._failure or "it has no frame"}')

    def check_complete(self, count: int) -> None:
        """Raise ``IncompleteVideo`` if the stream ended early, after ``count`` frames."""
        if self._is_ended():
            return
        if self._failure is None and count < int(self.frames * 0.9):
            self._failure = f'its header promises {self.frames} frames'
        if self._failure is not None:
            raise IncompleteVideo(
                f'{self._stream.name}: {self._failure}; the {count} frames before are written'
            )

    def close(self) -> None:
        """End the child process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _next_frame(self, count: int) -> np.ndarray | None:
        with suppress(OSError):  # the child has ended; its last answer says why
            self._connection.send_bytes(b'')
        answer = self._answer(FRAME_SECONDS)
        if answer is None:
            return None
        is_end = answer['kind'] == 'end'
        self.dropped = answer['number'] - count - (0 if is_end else 1)
        if is_end:
            return None
        height, width = answer['size']
        self._check_size(width, height)
        data = bytearray(height * width * 3)
        self._connection.recv_bytes_into(data)
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message of the child; None if none comes, with the failure set."""
        deadline = time.monotonic() + seconds
        try:
            while not self._connection.poll(POLL_SECONDS):
                if self._is_ended():
                    return None
                if time.monotonic() > deadline:
                    self._failure = f'no frame for {seconds:g} s'
                    return None
            return dict(json.loads(self._connection.recv_bytes(MAX_MESSAGE_BYTES)))
        except (EOFError, OSError):
            status = self._process.wait()
            name = signal.Signals(-status).name if status < 0 else f'exit status {status}'
            self._failure = f'its decoder has crashed ({name})'
            return None

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise InputError(
                f'{self._stream.name}: frames of {width}x{height} pixels, but at most '
                f'{self._max_pixels} are read; set max_pixels (--set max_pixels={width * height})'
            )

    def _why_not_opened(self, answer: dict[str, Any] | None) -> str:
        name = self._stream.name
        if isinstance(self._stream.source, int):
            return (
                f'{name}: cannot be opened; is it connected, and used by no other program? '
                'ls /dev/video* lists the cameras'
            )
        if answer is None:
            reason = (self._failure or 'ended').replace('no frame for', 'no answer for')
            return f'{name}: cannot be opened ({reason}); is the address right?'
        reason = re.sub(r'^\[[^]]*\] ', '', without_login(answer['reason'])).rstrip('. ')
        if 'whitelist' in reason or not reason:
            return (
                f'{name}: not a video, or of a format that is not read as a stream, such as a '
                'playlist (HLS), which names other addresses; for an image: '
                'curl ADDRESS | python infer.py -i -'
            )
        return f'{name}: cannot be opened ({reason}); is the address right?'


def _start(stream: Stream) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start the child process and let it open the stream."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                '-c',
                stream_child.PROGRAM.format(path=sys.path),
                str(theirs.fileno()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | _environment(stream.source),
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C must end the stream, not its reader
        )
    connection = Connection(ours.detach())
    is_live = isinstance(stream.source, int) or _scheme(stream.source) == 'rtsp'
    request = {'source': stream.source, 'is_live': is_live}
    connection.send_bytes(json.dumps(request).encode())
    return process, connection


def _environment(source: int | str) -> dict[str, str]:
    """Return the variables that restrict what FFmpeg opens, after options of the user."""
    if isinstance(source, int):
        return {}
    protocols = PROTOCOLS[_scheme(source).removesuffix('s')]
    own = os.environ.get(OPTIONS, 'rtsp_transport;tcp')
    limits = f'protocol_whitelist;{protocols}|format_whitelist;{FORMATS}'
    return {OPTIONS: f'{own}|{limits}', 'OPENCV_FFMPEG_LOGLEVEL': '16'}  # errors


def _scheme(address: str) -> str:
    return address.partition(':')[0].lower()
