"""Read images of any common format and write images and class maps."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyspng
from PIL import Image, UnidentifiedImageError

from common.errors import InputError, UserError
from common.files import replacing
from datasets import orientation, pixel_depth, png_chunks, tiff_tags
from datasets.decoding import decoding
from datasets.keys import DEFAULT_READING, ImageReading
from datasets.library_settings import check_size, open_with_pillow, silent_opencv

_PNG_RGB = bytes((8, 2))  # bits per channel, colour type
_PNG_SPECIAL = {b'eXIf', b'acTL', b'tRNS'}  # rotation, animation, transparency
_DEEP_MODES = ('I', 'F')  # initials of Pillow's modes with more than 8 bits per channel
_PROBE_IMAGE = np.zeros((32, 32, 3), np.uint8)  # smaller images cannot be written as JPEG 2000


def read_image(path: Path, reading: ImageReading = DEFAULT_READING) -> np.ndarray:
    """Read an image file.

    Grey images become BGR, 16 bits become 8, alpha is dropped and an EXIF orientation is applied. A
    file with several images yields the first.

    libspng decodes plain PNG files, the bulk of the data sets: the same pixels in 60 % of OpenCV's
    time. OpenCV decodes other formats, as in the published code, and Pillow those that OpenCV does
    not support (GIF, AVIF). Before OpenCV decodes a file, Pillow checks it, because OpenCV silently
    returns half an image from a truncated file.

    Args:
        path: The file.
        reading: Settings of the conversion.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: The file is missing, damaged or of an unsupported format, or its pixels are not
            unsigned integers of up to 16 bits.
    """
    with decoding(path):
        data = _read_bytes(path)
        if _is_plain_png(data, path):
            return cv2.cvtColor(pyspng.load(data), cv2.COLOR_RGB2BGR)
        kind, turn = _check_complete(data, path)
        is_tiff = data.startswith(tiff_tags.SIGNATURES)
        if is_tiff:
            pixel_depth.check_tiff(data, path)
        image = _decoded_by_opencv(data, reading, path)
        if image is None and kind is None:
            raise InputError(f'{path}: not an image, or of a format that cannot be read')
        if image is None:
            image = _decoded_by_pillow(data, reading, path)
        if is_tiff:  # both decoders apply the orientation of a TIFF themselves
            return image if reading.turns else orientation.as_stored(image, turn)
        return orientation.upright(image, turn) if reading.turns else image


def image_size(path: Path, reading: ImageReading = DEFAULT_READING) -> tuple[int, int]:
    """Return the height and width that :func:`read_image` returns; raises ``InputError``.

    A plain PNG file (8-bit RGB) is checked for completeness but not decoded. Pillow decodes other
    PNG files in search of an EXIF orientation. For other formats it reads only the header; files
    that Pillow does not know are decoded.
    """
    with decoding(path):
        data = _read_bytes(path)
        if _is_plain_png(data, path):
            width, height = struct.unpack('>II', data[16:24])
            return height, width
        try:
            with open_with_pillow(io.BytesIO(data)) as image:
                if image.format == 'PNG':
                    image.load()  # the orientation may follow the pixels
                turned = _orientation_of(data, image) in orientation.EXCHANGING
                # Pillow reports the size of a TIFF after it is turned.
                exchanged = turned and reading.turns != data.startswith(tiff_tags.SIGNATURES)
                return image.size if exchanged else image.size[::-1]
        except (UnidentifiedImageError, SyntaxError, ValueError):
            pass
    height, width, _ = read_image(path, reading).shape  # a format that OpenCV may support
    return height, width


def _decoded_by_opencv(data: bytes, reading: ImageReading, path: Path) -> np.ndarray | None:
    """Return the pixels as stored, (H, W, 3) uint8; None for a format that OpenCV cannot read."""
    if not data:
        return None
    deep = _imdecode(data, cv2.IMREAD_ANYDEPTH)
    if deep is None:
        return None
    pixel_depth.check_type(deep.dtype, path)
    if deep.dtype == np.uint8:
        pixel_depth.check_converted(data, reading, path)
        return deep
    if pixel_depth.reduces(reading):
        return pixel_depth.reduce_depth(deep, reading, path)
    # Decoders of other formats than PNG can round. They do not give 8 bits for a TIFF with 10, 12
    # or 14, which OpenCV has scaled to 16.
    image = None if data.startswith(png_chunks.SIGNATURE) else _imdecode(data, 0)
    if image is None:
        image = (deep >> 8).astype(np.uint8)
    if reading.bit_depth is None:
        pixel_depth.warn_if_dark(image, deep, path)
    return image


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    with silent_opencv:
        return cv2.imdecode(
            np.frombuffer(data, np.uint8),
            cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | flags,
        )


def _decoded_by_pillow(data: bytes, reading: ImageReading, path: Path) -> np.ndarray:
    pixel_depth.check_converted(data, reading, path)
    with open_with_pillow(io.BytesIO(data)) as image:
        if image.mode.startswith(_DEEP_MODES):
            raise InputError(f'{path}: of a format that cannot be read ({image.mode} pixels)')
        return cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)


def _orientation_of(data: bytes, image: Image.Image) -> int:
    """Return the EXIF orientation; Pillow hides that of a TIFF once the pixels are loaded."""
    is_tiff = data.startswith(tiff_tags.SIGNATURES)
    return orientation.of_exif(data) if is_tiff else orientation.of_image(image)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def _check_complete(data: bytes, path: Path) -> tuple[str | None, int]:
    """Decode an image with Pillow, which raises an exception if it is truncated or damaged.

    Returns:
        Pillow's name of the format, such as ``'WEBP'``, or None if Pillow does not know it, and the
        EXIF orientation.
    """
    try:
        with open_with_pillow(io.BytesIO(data)) as image:
            check_size(image, path)
            image.load()
            return image.format, _orientation_of(data, image)
    except UnidentifiedImageError:  # a format that OpenCV may support
        return None, orientation.of_exif(data)


def _is_plain_png(data: bytes, path: Path) -> bool:
    """Return whether this is an 8-bit RGB PNG without rotation, animation or transparency.

    Raises:
        InputError: This is a PNG that is truncated or damaged.
    """
    if not data.startswith(png_chunks.SIGNATURE):
        return False
    kinds = png_chunks.checked_kinds(data, path)
    return data[24:26] == _PNG_RGB and not kinds & _PNG_SPECIAL


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
        with silent_opencv:
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
        with silent_opencv:
            if path.suffix and cv2.imencode(path.suffix, _PROBE_IMAGE)[0]:
                return
    except cv2.error:
        pass  # unknown format, or one that is disabled in this build of OpenCV
    ending = path.suffix or 'images without a file extension'
    raise UserError(f'{path}: OpenCV writes no {ending} in colour; end the name in .jpg or .png')
