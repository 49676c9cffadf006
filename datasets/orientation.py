"""The EXIF orientation of images: find it, and turn images as it says.

A camera stores the pixels as its sensor has them, and the orientation tells how to show them: 1 as
stored, 2 mirrored, 3 upside down, 4 both, 5 to 8 the same with rows and columns exchanged. All
formats are treated alike here; OpenCV and Pillow each apply the orientation of some formats only.
"""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from datasets import formats, png_chunks, tiff_tags
from datasets.library_settings import open_with_pillow

UPRIGHT = 1
EXCHANGING = (5, 6, 7, 8)  # orientations that exchange height and width
_TAG = 0x0112
_INVERSE = {6: 8, 8: 6}  # the other orientations undo themselves
_EXIF_SIGNATURE = b'Exif\0\0'


def of_image(image: Image.Image) -> int:
    """Return the orientation of an image that Pillow has opened, which is not a TIFF."""
    return of_exif(image.info.get('exif') or b'')


def of_exif(data: bytes) -> int:
    """Return the orientation in EXIF data, or in a TIFF; 1 if there is no valid one."""
    while data.startswith(_EXIF_SIGNATURE):
        data = data[len(_EXIF_SIGNATURE) :]
    value = tiff_tags.read_tags(data, (_TAG,)).get(_TAG, ())
    return value[0] if len(value) == 1 and 1 <= value[0] <= 8 else UPRIGHT


def of_file(path: Path) -> int:
    """Return the orientation of an image file; 1 if it cannot be found.

    The pixels are not decoded: an unreadable file is reported when they are.
    """
    try:
        with open(path, 'rb') as file:
            name = formats.format_of(file.read(formats.HEAD_BYTES))
            if name is None:
                return UPRIGHT
            if name == formats.PNG:
                file.seek(len(png_chunks.SIGNATURE))
                return _of_png(file)
            file.seek(0)
            if name == formats.TIFF:
                return of_exif(file.read())
            with open_with_pillow(file, name) as image:
                return of_image(image)
    except Exception:  # Pillow raises any kind of exception for a damaged header
        return UPRIGHT


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return a stored image as it is to be shown.

    Args:
        image: (H, W, 3).
        orientation: The EXIF orientation, 1 to 8.
    """
    if orientation in EXCHANGING:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def as_stored(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo :func:`upright`."""
    return upright(image, _INVERSE.get(orientation, orientation))


def _of_png(file: BinaryIO) -> int:
    """Return the orientation in the chunk ``eXIf`` of a PNG; the other chunks are skipped."""
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], 'big'), header[4:]
        if kind == b'eXIf':
            return of_exif(file.read(length))
        file.seek(length + 4, io.SEEK_CUR)  # 4 bytes of checksum
    return UPRIGHT
