"""Settings of OpenCV and Pillow that hold for the whole process, changed safely in threads.

Both libraries have one value for all threads. While any thread is in a block, the value is the one
that the block needs; the last thread that leaves restores the value from before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
from PIL import Image

from common.errors import InputError
from common.library_output import hidden_c_output
from common.shared_setting import SharedSetting

LIMIT_VARIABLE = 'OPENCV_IO_MAX_IMAGE_PIXELS'  # environment variable that OpenCV reads
_USUAL_LIMIT = 1 << 30  # pixels
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
# By default Pillow warns above 89 million pixels and refuses images above 179 million.
images_of_any_size = SharedSetting(_lift_limit, _set_limit)


@contextmanager
def open_with_pillow(file: IO[bytes]) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow; it is to be decoded in the block."""
    with images_of_any_size, Image.open(file) as image:
        yield image


def check_size(image: Image.Image, path: Path) -> None:
    """Refuse an image with more pixels than OpenCV reads, before memory for them is needed.

    A damaged file of a few bytes can claim billions of pixels.

    Raises:
        InputError: The message tells how to raise the limit.
    """
    own = os.environ.get(LIMIT_VARIABLE, '')
    limit = int(own) if own.isdecimal() else _USUAL_LIMIT
    if image.width * image.height > limit:
        raise InputError(
            f'{path}: {image.width}x{image.height} pixels, but at most {limit} are read; cut it '
            f'into smaller images, or set the environment variable {LIMIT_VARIABLE}'
        )
