"""Image files: reading whatever photographers and programs produce, writing what others read."""

import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyspng
from PIL import Image, UnidentifiedImageError

from command import InputError, UserError
from files import replacing

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_RGB = bytes((8, 2))  # bits a channel, colour type
_PNG_SPECIAL = (b'eXIf', b'acTL', b'tRNS')  # rotation, animation, transparency
_EXIF_ORIENTATION = 0x0112


def read_image(path: Path) -> np.ndarray:
    """An image file as a ``uint8`` BGR array (H, W, 3).

    Grey becomes BGR, 16 bits become 8, alpha is dropped and an EXIF rotation is applied. OpenCV
    decodes, as in the published code; Pillow looks first, because OpenCV returns half an image from
    a truncated file without a word. Plain PNG files, the bulk of the data sets, are decoded by
    libspng: the same pixels in 60 % of OpenCV's time. Raises ``InputError``.
    """
    data = _read(path)
    if _is_plain_png(data, path):
        try:
            return cv2.cvtColor(pyspng.load(data), cv2.COLOR_RGB2BGR)
        except RuntimeError as error:
            raise InputError(f'{path}: damaged or truncated image ({error})') from error
    _check_whole(data, path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f'{path}: cannot be decoded ({error.err})') from error
    if image is None:
        raise InputError(f'{path}: not an image, or of a format that OpenCV does not read')
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Height and width that :func:`read_image` will return, from the file's head; raises
    ``InputError``.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            return image.size if turned else image.size[::-1]
    except (UnidentifiedImageError, SyntaxError, ValueError):
        return read_image(path).shape[:2]  # a format that OpenCV may know
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def _check_whole(data: bytes, path: Path):
    """Raise ``InputError`` for a truncated image of a format that Pillow knows."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except UnidentifiedImageError:
        pass  # a format that OpenCV may know
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: damaged or truncated image ({error})') from error
    except Image.DecompressionBombError:
        pass  # only large: more than 179 million pixels


def _is_plain_png(data: bytes, path: Path) -> bool:
    """Whether a PNG has 8-bit RGB pixels and nothing that says to turn or to replace them; all its
    chunks are checked on the way. Raises ``InputError``.
    """
    if not data.startswith(_PNG_SIGNATURE) or data[12:16] != b'IHDR' or data[24:26] != _PNG_RGB:
        return False
    position, kind, view = len(_PNG_SIGNATURE), b'', memoryview(data)
    while kind != b'IEND':
        kind = data[position + 4 : position + 8]
        end = position + 8 + int.from_bytes(data[position : position + 4], 'big')
        if end + 4 > len(data):
            raise InputError(f'{path}: damaged or truncated image (it ends within a PNG chunk)')
        if zlib.crc32(view[position + 4 : end]) != int.from_bytes(data[end : end + 4], 'big'):
            raise InputError(f'{path}: damaged or truncated image (a PNG chunk is not as written)')
        if kind in _PNG_SPECIAL:
            return False
        position = end + 4
    return True


def write_image(path: Path, image: np.ndarray):
    """Write a ``uint8`` BGR or grey image in the format of its ending; raises ``UserError``."""
    try:
        encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise UserError(f'{path}: cannot be encoded ({error.err})') from error
    if not encoded:
        raise UserError(
            f'{path}: {path.suffix} cannot hold {image.shape[1]}x{image.shape[0]} pixels'
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_palette_png(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]):
    """Write class indices (H, W) as a PNG with a palette, whose values are indices and which
    viewers show in colour.
    """
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in palette for value in colour])
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


def check_format(path: Path):
    """Raise ``UserError`` when no image format has the ending of ``path``."""
    if not path.suffix or not cv2.haveImageWriter(str(path)):
        raise UserError(
            f'{path}: OpenCV writes no {path.suffix or "images without an ending"}; '
            'end the name in .jpg or .png'
        )
