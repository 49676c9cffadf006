"""Image files: reading whatever photographers and programs produce, writing what others read."""

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
_PNG_RGB = bytes((8, 2))  # bits a channel, colour type
_PNG_SPECIAL = (b'eXIf', b'acTL', b'tRNS')  # rotation, animation, transparency
_EXIF_ORIENTATION = 0x0112
_NOT_TURNED = ('WEBP',)  # formats whose EXIF rotation OpenCV does not apply
_TURNED_AT_ONCE = ('TIFF',)  # formats whose size Pillow gives after the rotation
_DEEP = ('I', 'F')  # how Pillow's names of pixels of more than 8 bits begin
_SAMPLE = np.zeros((32, 32, 3), np.uint8)  # JPEG 2000 takes nothing smaller


def read_image(path: Path) -> np.ndarray:
    """An image file as a ``uint8`` BGR array (H, W, 3), of several images the first.

    Grey becomes BGR, 16 bits become 8, alpha is dropped and an EXIF rotation is applied. OpenCV
    decodes, as in the published code, and Pillow what OpenCV does not know (GIF, AVIF); Pillow
    looks first, because OpenCV returns half an image from a truncated file without a word. Plain
    PNG files, the bulk of the data sets, are decoded by libspng: the same pixels in 60 % of
    OpenCV's time. Raises ``InputError``.
    """
    data = _read(path)
    if _is_plain_png(data, path):
        try:
            return cv2.cvtColor(pyspng.load(data), cv2.COLOR_RGB2BGR)
        except RuntimeError as error:
            raise InputError(f'{path}: damaged or truncated image ({error})') from error
    kind = _check_whole(data, path)
    try:
        with silent_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f'{path}: cannot be decoded ({error.err})') from error
    if image is None and kind is None:
        raise InputError(f'{path}: not an image, or of a format that cannot be read')
    if image is None:
        return _decoded_by_pillow(data, path)
    return _turned(image, _orientation_of(data)) if kind in _NOT_TURNED else image


def image_size(path: Path) -> tuple[int, int]:
    """Height and width that :func:`read_image` will return; raises ``InputError``.

    Plain PNG files are checked to be whole, but not decoded; of other formats the head is read.
    """
    data = _read(path)
    if _is_plain_png(data, path):
        width, height = struct.unpack('>II', data[16:24])
        return height, width
    try:
        with _opened(path) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            turned = turned and image.format not in _TURNED_AT_ONCE
            return image.size if turned else image.size[::-1]
    except (UnidentifiedImageError, SyntaxError, ValueError):
        height, width, _ = read_image(path).shape  # a format that OpenCV may know
        return height, width
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error


@contextmanager
def silent_opencv() -> Iterator[None]:
    """OpenCV writes no lines of its own to standard error; what fails is found and told by us."""
    level = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


@contextmanager
def _opened(file) -> Iterator[Image.Image]:
    """An image as Pillow opens it, however large; by itself Pillow warns from 89 million pixels on
    and refuses from 179 million on.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(file) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = most


def _decoded_by_pillow(data: bytes, path: Path) -> np.ndarray:
    with _opened(io.BytesIO(data)) as image:
        if image.mode.startswith(_DEEP):
            raise InputError(f'{path}: of a format that cannot be read ({image.mode} pixels)')
        pixels = cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)
    return _turned(pixels, _orientation_of(data))


def _orientation_of(data: bytes) -> int:
    with _opened(io.BytesIO(data)) as image:
        return image.getexif().get(_EXIF_ORIENTATION, 1)


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image upright; orientation: EXIF's, from 1 (it is) to 8."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def _check_whole(data: bytes, path: Path) -> str | None:
    """The format of an image that Pillow knows, such as ``'WEBP'``; raises ``InputError`` when it
    is truncated.
    """
    try:
        with _opened(io.BytesIO(data)) as image:
            image.load()
            return image.format
    except UnidentifiedImageError:
        return None  # a format that OpenCV may know
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: damaged or truncated image ({error})') from error


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
    """Write a ``uint8`` BGR or grey image in the format of its ending.

    Raises ``InputError`` when the format cannot hold this image, ``UserError`` when the file cannot
    be written.
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
    """Write class indices (H, W) as a PNG with a palette, whose values are indices and which
    viewers show in colour.
    """
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in palette for value in colour])
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


def check_format(path: Path):
    """Raise ``UserError`` when no image format has the ending of ``path``, or one without colour;
    found by trying.
    """
    try:
        with silent_opencv():
            if path.suffix and cv2.imencode(path.suffix, _SAMPLE)[0]:
                return
    except cv2.error:
        pass  # no such format, or one that is switched off in this OpenCV
    ending = path.suffix or 'images without an ending'
    raise UserError(f'{path}: OpenCV writes no {ending} in colour; end the name in .jpg or .png')
