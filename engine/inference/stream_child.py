"""The child process that opens a camera or a stream and hands over its frames on request.

OpenCV can wait for ever, and reads beyond the memory of frames whose size changes. A process can be
killed, and what it reads is its own memory. The parent is :mod:`engine.inference.stream_reader`.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from common.worker import become_worker

PROGRAM = (
    'import sys; sys.path[:] = {path!r}; from engine.inference.stream_child import main; main()'
)

MAX_REASON = 200  # characters of a message of FFmpeg


def main() -> None:
    """Serve the parent, which writes the number of its socket to the command line."""
    become_worker()
    cv2.setLogLevel(0)  # FFmpeg's messages say more
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError, OSError):  # the parent has ended
        _serve(connection)


def _serve(connection: Connection) -> None:
    capture, reason = _opened(json.loads(connection.recv_bytes()))
    if not capture.isOpened():
        _send(connection, kind='closed', reason=reason)
        return
    rate, width, height = (
        float(np.nan_to_num(capture.get(number)))
        for number in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    _send(connection, kind='open', rate=rate, size=(int(width), int(height)))
    dropped = 0
    while capture.grab():
        if not connection.poll(0):  # nobody waits for this frame
            dropped += 1
            continue
        connection.recv_bytes()
        there, frame = capture.retrieve()
        if not there:
            break
        _send_frame(connection, frame, dropped)
        dropped = 0
    _send(connection, kind='end', dropped=dropped)


def _opened(source: int | str) -> tuple[cv2.VideoCapture, str]:
    """Open a camera or a stream; return it with the last line that the libraries printed."""
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        if isinstance(source, int):
            capture = cv2.VideoCapture(source)
        else:
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
        with open(os.devnull, 'wb') as nowhere:
            os.dup2(nowhere.fileno(), 2)
        messages.seek(0)
        lines = messages.read(1 << 16).decode(errors='replace').strip().splitlines()
    return capture, lines[-1][:MAX_REASON] if lines else ''


def _send_frame(connection: Connection, frame: np.ndarray, dropped: int) -> None:
    if frame.ndim == 2:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    height, width = frame.shape[:2]
    _send(connection, kind='frame', size=(height, width), dropped=dropped)
    connection.send_bytes(np.ascontiguousarray(frame, np.uint8).data.cast('B'))


def _send(connection: Connection, **message: Any) -> None:
    connection.send_bytes(json.dumps(message).encode())
