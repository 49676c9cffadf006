"""Settings of OpenCV and Pillow that hold for the whole process, changed safely in threads.

Both libraries have one value for all threads. While any thread is in a block, the value is the one
that the block needs; the last thread that leaves restores the value from before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import cv2
from PIL import Image

from common.shared_setting import SharedSetting
from common.terminal.library_output import hidden_c_output

_SILENT = 0  # OpenCV's level without messages


def _silence_opencv() -> int:
    hidden_c_output.__enter__()  # libpng and others print by themselves
    return cv2.setLogLevel(_SILENT)


def _let_opencv_speak(level: int) -> None:
    cv2.setLogLevel(level)
    hidden_c_output.__exit__()


def _lift_limit() -> int | None:
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    return before


def _set_limit(pixels: int | None) -> None:
    Image.MAX_IMAGE_PIXELS = pixels


# Lines of OpenCV, and of the decoders in it, on standard error; our code reports failures.
silent_opencv = SharedSetting(_silence_opencv, _let_opencv_speak)
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
