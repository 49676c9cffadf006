"""TensorBoard's event files, written by this process itself.

tensorboardX's ``SummaryWriter`` writes in a thread, which a full disk ends; the next calls then
wait for it for ever. Its ``EventsWriter``, below that, writes at once and raises what goes wrong.
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

FLUSH_SECONDS = 10  # the most that a reader lags behind
RGB = 3  # TensorBoard's number of a colour space


class EventWriter:
    """One event file of a run in ``folder``; events after ``start_iteration`` in older files become
    invisible.

    All methods raise ``OSError`` when the file cannot be written.
    """

    def __init__(self, folder: Path, start_iteration: int):
        # The writer's own names differ from second to second only, and it overwrites.
        self._writer = EventsWriter(
            str(folder / 'events'), f'.{start_iteration:08d}.{os.getpid()}.{time.time_ns()}'
        )
        self._flushed = time.monotonic()
        purge = SessionLog(status=SessionLog.START)
        self._write(start_iteration + 1, session_log=purge)

    def scalars(self, iteration: int, values: Mapping[str, float]):
        """Write numbers by tag."""
        summary = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(iteration, summary=Summary(value=summary))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def picture(self, iteration: int, tag: str, picture: np.ndarray):
        """Write a picture, (H, W, 3) ``uint8`` BGR."""
        _, encoded = cv2.imencode('.png', picture)
        height, width = picture.shape[:2]
        image = Summary.Image(
            height=height,
            width=width,
            colorspace=RGB,
            encoded_image_string=encoded.tobytes(),
        )
        self._write(iteration, summary=Summary(value=[Summary.Value(tag=tag, image=image)]))

    def flush(self):
        """Show a reader all that was written."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self):
        """Write what is left and close the file."""
        self._writer.close()

    def _write(self, iteration: int, **content):
        self._writer.write_event(Event(wall_time=time.time(), step=iteration, **content))
