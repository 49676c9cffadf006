"""Read images of any common format and write images and class maps."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pyspng
from PIL import Image, UnidentifiedImageError

from common.errors import InputError, UserError
from common.files import replacing

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_RGB = bytes((8, 2))  # bits per channel, colour type
_PNG_SPECIAL = (b'eXIf', b'acTL', b'tRNS')  # rotation, animation, transparency
_EXIF_ORIENTATION = 0x0112
_UNROTATED_BY_OPENCV = ('WEBP',)  # formats whose EXIF rotation OpenCV does not apply
_SIZE_AFTER_ROTATION = ('TIFF',)  # formats whose size Pillow reports after the rotation
_DEEP_MODES = ('I', 'F')  # initials of Pillow's modes with more than 8 bits per channel
_PROBE_IMAGE = np.zeros((32, 32, 3), np.uint8)  # smaller images cannot be written as JPEG 2000


def read_image(path: Path) -> np.ndarray:
    """Read an image file.

    Grey images become BGR, 16 bits become 8, alpha is dropped and an EXIF rotation is applied. A
    file with several images yields the first.

    libspng decodes plain PNG files, the bulk of the data sets: the same pixels in 60 % of OpenCV's
    time. OpenCV decodes other formats, as in the published code, and Pillow those that OpenCV does
    not support (GIF, AVIF). Before OpenCV decodes a file, Pillow checks it, because OpenCV silently
    returns half an image from a truncated file.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: The file is missing, damaged or of an unsupported format.
    """
    data = _read_bytes(path)
    if _is_plain_png(data, path):
        try:
            return cv2.cvtColor(pyspng.load(data), cv2.COLOR_RGB2BGR)
        except RuntimeError as error:
            raise InputError(f'{path}: damaged or truncated image ({error})') from error
    kind = _check_complete(data, path)
    try:
        with silent_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f'{path}: cannot be decoded ({error.err})') from error
    if image is None and kind is None:
        raise InputError(f'{path}: not an image, or of a format that cannot be read')
    if image is None:
        return _decoded_by_pillow(data, path)
    return _upright(image, _orientation_of(data)) if kind in _UNROTATED_BY_OPENCV else image


def image_size(path: Path) -> tuple[int, int]:
    """Return the height and width that :func:`read_image` returns; raises ``InputError``.

    A plain PNG file (8-bit RGB) is checked for completeness but not decoded. Pillow decodes other
    PNG files in search of an EXIF rotation. For other formats it reads only the header; files that
    Pillow does not know are decoded.
    """
    data = _read_bytes(path)
    if _is_plain_png(data, path):
        width, height = struct.unpack('>II', data[16:24])
        return height, width
    try:
        with _open_with_pillow(path) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            turned = turned and image.format not in _SIZE_AFTER_ROTATION
            return image.size if turned else image.size[::-1]
    except (UnidentifiedImageError, SyntaxError, ValueError):
        height, width, _ = read_image(path).shape  # a format that OpenCV may support
        return height, width
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Suppress OpenCV's own lines on standard error; our code detects and reports failures."""
    level = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


@contextmanager
def _open_with_pillow(file) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow.

    By default Pillow warns above 89 million pixels and refuses images above 179 million.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(file) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _decoded_by_pillow(data: bytes, path: Path) -> np.ndarray:
    with _open_with_pillow(io.BytesIO(data)) as image:
        if image.mode.startswith(_DEEP_MODES):
            raise InputError(f'{path}: of a format that cannot be read ({image.mode} pixels)')
        pixels = cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)
    return _upright(pixels, _orientation_of(data))


def _orientation_of(data: bytes) -> int:
    with _open_with_pillow(io.BytesIO(data)) as image:
        return image.getexif().get(_EXIF_ORIENTATION, 1)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return the image upright; ``orientation`` is EXIF's value, from 1 (upright) to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def _check_complete(data: bytes, path: Path) -> str | None:
    """Return Pillow's name of the format, such as ``'WEBP'``, or None if Pillow does not know it.

    Raises:
        InputError: The image is truncated or damaged.
    """
    try:
        with _open_with_pillow(io.BytesIO(data)) as image:
            image.load()
            return image.format
    except UnidentifiedImageError:
        return None  # a format that OpenCV may support
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: damaged or truncated image ({error})') from error


def _is_plain_png(data: bytes, path: Path) -> bool:
    """Return whether this is an 8-bit RGB PNG without rotation, animation or transparency.

    The function also checks the length and the checksum of every chunk that it passes.

    Raises:
        InputError: A chunk is truncated, or its checksum is wrong.
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
            raise InputError(f'{path}: damaged or truncated image (wrong checksum of a PNG chunk)')
        if kind in _PNG_SPECIAL:
            return False
        position = end + 4
    return True


def write_image(path: Path, image: np.ndarray):
    """Write an image in the format of the file extension.

    Args:
        path: The file; an existing one is replaced.
        image: (H, W, 3) uint8, BGR, or (H, W) uint8, grey.

    Raises:
        InputError: The format cannot hold this image.
        UserError: The file cannot be written.
    """
    try:
        with silent_opencv():
            encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise InputError(f'{path}: cannot be encoded ({error.err})') from error
    if not encoded:
        raise InputError(
            f'{path}: {path.suffix} cannot hold {image.shape[1]}x{image.shape[0]} pixels'
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data.data)


def write_palette_png(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]):
    """Write class indices as a palette PNG: its pixels are the indices, viewers show the colours.

    Args:
        path: The file; an existing one is replaced.
        labels: (H, W) uint8, class indices.
        palette: The colours of the classes as (red, green, blue).
    """
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in palette for value in colour])
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


def check_format(path: Path):
    """Raise ``UserError`` unless OpenCV can write colour images with the extension of ``path``.

    OpenCV has no list of its formats, so a small image is encoded to find out.
    """
    try:
        with silent_opencv():
            if path.suffix and cv2.imencode(path.suffix, _PROBE_IMAGE)[0]:
                return
    except cv2.error:
        pass  # unknown format, or one that is disabled in this build of OpenCV
    ending = path.suffix or 'images without a file extension'
    raise UserError(f'{path}: OpenCV writes no {ending} in colour; end the name in .jpg or .png')
