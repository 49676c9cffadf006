"""Write TensorBoard's event files without a background thread.

tensorboardX's ``SummaryWriter`` writes in a thread. A full disk ends that thread, and the next
calls then block forever. The lower-level ``EventsWriter`` writes immediately and raises errors.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from common.terminal.printable import one_line

FLUSH_SECONDS = 10  # scalars() flushes at most once in this time
RGB_COLORSPACE = 3  # TensorBoard's number for RGB


class EventWriter:
    """A writer of one event file of a run.

    Args:
        folder: Folder of the run.
        start_iteration: Number of completed iterations. TensorBoard hides the events that older
            files contain for later iterations.

    Raises:
        OSError: The file cannot be written. All methods raise it as well.
    """

    def __init__(self, folder: Path, start_iteration: int):
        # Default file names have a resolution of one second, and EventsWriter overwrites files.
        self._writer = EventsWriter(
            str(folder / 'events'), f'.{start_iteration:08d}.{os.getpid()}.{time.time_ns()}'
        )
        self._flushed = time.monotonic()
        purge = SessionLog(status=SessionLog.START)
        self._write(start_iteration + 1, session_log=purge)

    def scalars(self, iteration: int, values: Mapping[str, float]):
        """Write the numbers of an iteration.

        Args:
            iteration: Number of completed iterations.
            values: Numbers by tag.
        """
        summary = [Summary.Value(tag=one_line(tag), simple_value=v) for tag, v in values.items()]
        self._write(iteration, summary=Summary(value=summary))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def picture(self, iteration: int, tag: str, picture: np.ndarray):
        """Write a picture.

        Args:
            iteration: Number of completed iterations.
            tag: Name of the picture in TensorBoard; a file's name can hold what no text can.
            picture: (H, W, 3) uint8, BGR.
        """
        _, encoded = cv2.imencode('.png', picture)
        height, width = picture.shape[:2]
        image = Summary.Image(
            height=height,
            width=width,
            colorspace=RGB_COLORSPACE,
            encoded_image_string=encoded.tobytes(),
        )
        shown = Summary.Value(tag=one_line(tag), image=image)
        self._write(iteration, summary=Summary(value=[shown]))

    def flush(self):
        """Make all written events visible to readers."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self):
        """Write buffered events and close the file."""
        self._writer.close()

    def _write(self, iteration: int, **content):
        self._writer.write_event(Event(wall_time=time.time(), step=iteration, **content))
