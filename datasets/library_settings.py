"""Settings of OpenCV and Pillow that hold for the whole process, changed safely in threads.

Both libraries have one value for all threads. While any thread is in a block, the value is the one
that the block needs; the last thread that leaves restores the value from before.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import cv2
from PIL import Image

_SILENT = 0  # OpenCV's level without messages


class SharedSetting:
    """A context manager that changes a setting while at least one thread is inside.

    Args:
        change: Changes the setting and returns its value from before.
        restore: Receives that value.
    """

    def __init__(self, change: Callable[[], Any], restore: Callable[[Any], object]):
        self._change, self._restore = change, restore
        self._lock, self._inside, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._change()
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._restore(self._before)


def _lift_limit() -> int | None:
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    return before


def _set_limit(pixels: int | None) -> None:
    Image.MAX_IMAGE_PIXELS = pixels


# OpenCV's own lines on standard error; our code detects and reports failures.
silent_opencv = SharedSetting(lambda: cv2.setLogLevel(_SILENT), cv2.setLogLevel)
# By default Pillow warns above 89 million pixels and refuses images above 179 million; our own
# limit is another, see datasets.pixel_limit.
images_of_any_size = SharedSetting(_lift_limit, _set_limit)


@contextmanager
def open_with_pillow(file: IO[bytes], name: str) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow; it is to be decoded in the block.

    Args:
        file: The open file.
        name: Its format, see :mod:`datasets.formats`; Pillow tries no other one.
    """
    with images_of_any_size, Image.open(file, formats=[name]) as image:
        yield image
