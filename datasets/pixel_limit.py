"""The limit of pixels, checked before a decoder allocates memory for them.

A damaged or hostile file of a few bytes can claim billions of pixels. The config key ``max_pixels``
is passed to functions that read images. Functions that read labels have no such argument, as they
belong to the readers of data sets: their limit holds in a block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from common.errors import InputError
from datasets.keys import MAX_PIXELS


class TooManyPixelsError(InputError):
    """An image has more pixels than are read."""


_of_labels: ContextVar[int] = ContextVar('max_pixels of labels', default=MAX_PIXELS)


@contextmanager
def labels_up_to(limit: int) -> Iterator[None]:
    """Set the largest number of pixels of the labels that are read in the block."""
    token = _of_labels.set(limit)
    try:
        yield
    finally:
        _of_labels.reset(token)


def check_label(width: int, height: int, path: Path) -> None:
    """Raise ``TooManyPixelsError`` for a label of more pixels than :func:`labels_up_to` allows."""
    check(width, height, path, _of_labels.get())


def check(width: int, height: int, path: Path, limit: int) -> None:
    """Check the size of an image.

    Raises:
        TooManyPixelsError: It has more pixels than ``limit``.
        InputError: It has none.
    """
    if width < 1 or height < 1:
        raise InputError(f'{path}: damaged ({width}x{height} pixels)')
    if width * height > limit:
        raise TooManyPixelsError(
            f'{path}: {width}x{height} pixels, but at most {limit} are read; cut it into smaller '
            f'images, or set max_pixels: {width * height} (--set max_pixels={width * height}, or '
            f'--max-pixels {width * height} in python -m datasets.prepare)'
        )


def check_bytes(width: int, height: int, needed: int, held: int, path: Path) -> None:
    """Raise ``InputError`` if a file is too small for the pixels that it claims.

    Args:
        width: Claimed width in pixels.
        height: Claimed height in pixels.
        needed: Bytes that so many pixels take at least.
        held: Bytes of the file.
        path: The file, for the message.
    """
    if needed > held:
        raise InputError(
            f'{path}: damaged or truncated ({held} bytes cannot hold {width}x{height} pixels)'
        )
