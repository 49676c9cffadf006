"""Read images of any common format and write images and class maps."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import InputError, UserError
from common.files import replacing
from datasets import declared_size, formats, orientation, pixel_depth, pixel_limit, png_chunks
from datasets.decoding import decoding
from datasets.keys import DEFAULT_READING, ImageReading
from datasets.library_settings import open_with_pillow, silent_opencv
from datasets.png_chunks import PngFacts

_DEEP_MODES = ('I', 'F')  # initials of Pillow's modes with more than 8 bits per channel
_PROBE_IMAGE = np.zeros((32, 32, 3), np.uint8)  # smaller images cannot be written as JPEG 2000
_PNM_COMMENT = re.compile(rb'#[^\r\n]*')
_OPENCV_PIXELS, _OPENCV_SIDE = 1 << 30, 1 << 20  # of the largest image that OpenCV decodes


def read_image(path: Path, reading: ImageReading = DEFAULT_READING) -> np.ndarray:
    """Read an image file.

    Grey images become BGR, 16 bits become 8, alpha is dropped and an EXIF orientation is applied. A
    file with several images yields the first.

    libspng decodes PNG files, the bulk of the data sets. OpenCV decodes other formats, as in the
    published code, and Pillow those that OpenCV does not support (GIF, AVIF). Before OpenCV decodes
    a file, Pillow checks it, because OpenCV silently returns half an image from a truncated file.

    Args:
        path: The file; its content shows its format, see :mod:`datasets.formats`.
        reading: Settings of the conversion, and the limit of pixels.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: The file is missing, damaged, of an unsupported format or too large, or its
            pixels are not unsigned integers of up to 16 bits.
    """
    with decoding(path):
        return _decode(*_read_bytes(path), reading, path)


def decode_image(
    data: bytes, name: str | Path, reading: ImageReading = DEFAULT_READING
) -> np.ndarray:
    """Decode the bytes of an image file as :func:`read_image` does.

    Args:
        data: The bytes.
        name: What the messages call the image.
        reading: Settings of the conversion, and the limit of pixels.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: As :func:`read_image`; :class:`datasets.formats.UnknownFormatError` and
            :class:`datasets.pixel_limit.TooManyPixelsError` are kinds of it.
    """
    path = Path(name)
    with decoding(path):
        known = formats.format_of(data[: formats.HEAD_BYTES])
        return _decode(*_readable(known, data, path), reading, path)


def _decode(name: str, data: bytes, reading: ImageReading, path: Path) -> np.ndarray:
    if name == formats.PNG:
        facts = _check_png(data, reading, path)
        turn, image = orientation.of_exif(facts.exif), png_chunks.decode(data, facts)
        image = _in_8_bits(image, name, data, reading, path)
        return orientation.upright(image, turn) if reading.turns else image
    turn, by_opencv = _check_complete(name, data, reading, path)
    image = _decoded(name, data, by_opencv, reading, path)
    if name == formats.TIFF:  # both decoders apply the orientation of a TIFF themselves
        return image if reading.turns else orientation.as_stored(image, turn)
    return orientation.upright(image, turn) if reading.turns else image


def image_size(path: Path, reading: ImageReading = DEFAULT_READING) -> tuple[int, int]:
    """Return the height and width that :func:`read_image` returns; raises ``InputError``.

    A PNG file is checked for completeness but not decoded. For other formats only the header is
    read; files whose header Pillow does not know are decoded.
    """
    with decoding(path):
        name, data = _read_bytes(path)
        if name == formats.PNG:
            return _size_of_png(_check_png(data, reading, path), reading)
        try:
            with _opened(name, data, reading, path) as image:
                turned = _orientation_of(name, data, image) in orientation.EXCHANGING
                # Pillow reports the size of a TIFF after it is turned.
                exchanged = turned and reading.turns != (name == formats.TIFF)
                return image.size if exchanged else image.size[::-1]
        except UnidentifiedImageError:
            pass
    height, width, _ = read_image(path, reading).shape  # a kind of TIFF that OpenCV may support
    return height, width


def checked_size(path: Path, reading: ImageReading = DEFAULT_READING) -> tuple[int, int]:
    """Return :func:`image_size`, after a check that the whole image can be read."""
    with decoding(path):
        name, data = _read_bytes(path)
        if name == formats.PNG:  # its checksums show damage
            return _size_of_png(_check_png(data, reading, path), reading)
    height, width, _ = read_image(path, reading).shape
    return height, width


def _size_of_png(facts: PngFacts, reading: ImageReading) -> tuple[int, int]:
    turned = reading.turns and orientation.of_exif(facts.exif) in orientation.EXCHANGING
    return (facts.width, facts.height) if turned else (facts.height, facts.width)


def _read_bytes(path: Path) -> tuple[str, bytes]:
    """Return the format and the bytes of an image file."""
    return _readable(*formats.read_file(path), path)


def _readable(name: str | None, data: bytes, path: Path) -> tuple[str, bytes]:
    """Return the format and the bytes that the decoders take; raise for an unknown format."""
    if name is None:
        raise formats.unknown(path)
    if name == formats.PNM and data[1:2] in b'123':  # in text; Pillow is slow with comments
        data = _PNM_COMMENT.sub(b' ', data)
    return name, data


def _check_png(data: bytes, reading: ImageReading, path: Path) -> PngFacts:
    facts = png_chunks.check(data, path)
    pixel_limit.check(facts.width, facts.height, path, reading.max_pixels)
    return facts


@contextmanager
def _opened(name: str, data: bytes, reading: ImageReading, path: Path) -> Iterator[Image.Image]:
    """Open an image with Pillow and check what it claims to be; the block decodes it."""
    if name == formats.TIFF:
        declared_size.check_tiff(data, path, reading.max_pixels)
        pixel_depth.check_tiff(data, path)
    with open_with_pillow(io.BytesIO(data), name) as image:
        declared_size.check(image, name, data, path, reading.max_pixels)
        yield image


def _check_complete(name: str, data: bytes, reading: ImageReading, path: Path) -> tuple[int, bool]:
    """Decode an image with Pillow, which raises an exception if it is truncated or damaged.

    Returns:
        The EXIF orientation, and whether OpenCV can decode an image of this size.
    """
    try:
        with _opened(name, data, reading, path) as image:
            image.load()
            small = image.width * image.height <= _OPENCV_PIXELS and max(image.size) < _OPENCV_SIDE
            return _orientation_of(name, data, image), small
    except UnidentifiedImageError:
        if name != formats.TIFF:
            raise
        return orientation.of_exif(data), True  # a kind of TIFF that OpenCV may support


def _decoded(
    name: str, data: bytes, by_opencv: bool, reading: ImageReading, path: Path
) -> np.ndarray:
    """Return the pixels as stored, (H, W, 3) uint8, BGR."""
    deep = _imdecode(data, cv2.IMREAD_ANYDEPTH) if by_opencv else None
    if deep is not None:
        return _in_8_bits(deep, name, data, reading, path)
    pixel_depth.check_converted(data, reading, path)
    with _opened(name, data, reading, path) as image:
        if image.mode.startswith(_DEEP_MODES):
            raise InputError(f'{path}: of a format that cannot be read ({image.mode} pixels)')
        return cv2.cvtColor(np.asarray(image.convert('RGB')), cv2.COLOR_RGB2BGR)


def _in_8_bits(
    deep: np.ndarray, name: str, data: bytes, reading: ImageReading, path: Path
) -> np.ndarray:
    """Return decoded pixels of any type as (H, W, 3) uint8."""
    pixel_depth.check_type(deep.dtype, path)
    if deep.dtype == np.uint8:
        pixel_depth.check_converted(data, reading, path)
        return deep
    if pixel_depth.reduces(reading):
        return pixel_depth.reduce_depth(deep, reading, path)
    # Decoders of other formats than PNG can round. They do not give 8 bits for a TIFF with 10, 12
    # or 14, which OpenCV has scaled to 16.
    image = None if name == formats.PNG else _imdecode(data, 0)
    if image is None:
        image = (deep >> 8).astype(np.uint8)
    if reading.bit_depth is None:
        pixel_depth.warn_if_dark(image, deep, path)
    return image


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    """Decode with OpenCV; None for a file that it does not support."""
    with silent_opencv:
        return cv2.imdecode(
            np.frombuffer(data, np.uint8),
            cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | flags,
        )


def _orientation_of(name: str, data: bytes, image: Image.Image) -> int:
    """Return the EXIF orientation; Pillow hides that of a TIFF once the pixels are loaded."""
    return orientation.of_exif(data) if name == formats.TIFF else orientation.of_image(image)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image in the format of the file extension.

    Args:
        path: The file; an existing one is replaced.
        image: (H, W, 3) uint8, BGR, or (H, W) uint8, grey.

    Raises:
        InputError: The format cannot hold this image.
        UserError: The file cannot be written.
    """
    data = encode_image(path.suffix, image, path)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def encode_image(extension: str, image: np.ndarray, name: str | Path = 'the image') -> bytes:
    """Return the bytes of an image file.

    Args:
        extension: Extension of the format, such as ``.png``.
        image: (H, W, 3) uint8, BGR, or (H, W) uint8, grey.
        name: What the messages call the image.

    Raises:
        InputError: The format cannot hold this image.
    """
    try:
        with silent_opencv:
            encoded, data = cv2.imencode(extension, image)
    except cv2.error as error:
        raise InputError(f'{name}: cannot be encoded ({error.err})') from error
    if not encoded:
        raise InputError(
            f'{name}: {extension} cannot hold {image.shape[1]}x{image.shape[0]} pixels'
        )
    return data.tobytes()


def write_palette_png(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    """Write :func:`palette_png` to a file; an existing one is replaced."""
    with replacing(path) as temporary:
        temporary.write_bytes(palette_png(labels, palette))


def palette_png(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """Return class indices as a palette PNG: its pixels are the indices, viewers show the colours.

    Args:
        labels: (H, W) uint8, class indices.
        palette: The colours of the classes as (red, green, blue).
    """
    image, data = Image.fromarray(labels, mode='P'), io.BytesIO()
    image.putpalette([value for colour in palette for value in colour])
    image.save(data, format='PNG')
    return data.getvalue()


def check_format(path: Path) -> None:
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
