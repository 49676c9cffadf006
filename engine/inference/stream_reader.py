"""Read a camera or an RTSP stream with OpenCV, in a child process that can be ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from common.downloading.http_get import without_login
from common.errors import InputError
from engine.inference import stream_child, stream_frames
from engine.inference.sources import Stream
from engine.inference.stream_frames import StreamFrames
from engine.inference.video import RATES

MAX_RATE = 60.0  # frames per second; streams without a rate of their own claim thousands
MAX_MESSAGE_BYTES = 1 << 16
LOG_LEVELS = ('OPENCV_FFMPEG_LOGLEVEL', 'OPENCV_FFMPEG_DEBUG')  # without them errors are printed


class StreamReader(StreamFrames):
    """The frames of a camera or an RTSP stream.

    Args:
        stream: What to open.
        max_pixels: Pixels of the largest frame that is read.
        is_ended: Returns whether the user has ended the stream.

    Raises:
        InputError: It cannot be opened in time, or its frames are too large.
    """

    def __init__(
        self, stream: Stream, max_pixels: int, is_ended: Callable[[], bool] = lambda: False
    ):
        super().__init__(stream, is_ended)
        self._source, self._max_pixels = stream.source, max_pixels
        self._process, self._connection = _start(stream)
        try:
            facts = self._answer(stream_frames.OPEN_SECONDS)
            if facts is None or facts['kind'] == 'closed':
                raise InputError(self._why_not_opened(facts))
            self._check_size(*facts['size'])
        except BaseException:
            self.close()
            raise
        if RATES[0] <= facts['rate'] <= MAX_RATE:
            self.rate = facts['rate']

    def close(self) -> None:
        """End the child process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _next_frame(self) -> np.ndarray | None:
        with suppress(OSError):  # the child has ended; its last answer says why
            self._connection.send_bytes(b'')
        answer = self._answer(stream_frames.FRAME_SECONDS)
        if answer is None or answer['kind'] == 'end':
            self.dropped += (answer or {}).get('dropped', 0)
            return None
        height, width = answer['size']
        self._check_size(width, height)
        data = bytearray(height * width * 3)
        self._connection.recv_bytes_into(data)
        self.dropped += answer['dropped']
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message of the child; None if none comes, with the failure set."""
        try:
            if not self._wait(self._connection.poll, seconds):
                return None
            return dict(json.loads(self._connection.recv_bytes(MAX_MESSAGE_BYTES)))
        except (EOFError, OSError):
            status = self._process.wait()
            name = signal.Signals(-status).name if status < 0 else f'exit status {status}'
            self._failure = f'its decoder crashed ({name})'
            return None

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise InputError(
                f'{self.name}: frames of {width}x{height} pixels, but at most {self._max_pixels} '
                f'are read; set max_pixels (--set max_pixels={width * height})'
            )

    def _why_not_opened(self, answer: dict[str, Any] | None) -> str:
        if answer is None and self._is_ended():
            return f'{self.name}: was not open yet'
        if isinstance(self._source, int):
            return (
                f'{self.name}: cannot be opened; is it connected, and used by no other program? '
                'ls /dev/video* lists the cameras'
            )
        said = self._failure if answer is None else answer['reason']
        reason = re.sub(r'^\[[^]]*\] ', '', without_login(said or '')).rstrip('. ')
        return f'{self.name}: cannot be opened ({reason or "no video"}); is the address right?'


def _start(stream: Stream) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start the child process and let it open the stream."""
    ours, theirs = socket.socketpair()
    program = stream_child.PROGRAM.format(path=sys.path)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, '-c', program, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name not in LOG_LEVELS},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C must end the stream, not its reader
        )
    connection = Connection(ours.detach())
    connection.send_bytes(json.dumps(stream.source).encode())  # it can hold a password
    return process, connection
