"""Check the size that an image file claims before memory for its pixels is allocated.

A file may claim no more pixels than are read, nor more than its bytes can hold. The latter is known
of formats without compression, of JPEG and of JPEG 2000; :mod:`datasets.png_chunks` checks PNG.
"""

from pathlib import Path

from PIL import Image

from common.errors import InputError
from datasets import formats, jpeg_2000, jpeg_markers, pixel_limit, tiff_tags

_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 259, 262, 277  # tags of TIFF
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_BITS = 258
_UNCOMPRESSED, _YCBCR = 1, 6  # values of the compression and of the photometric tag
# A block of 8x8 values takes at least one bit, and stands for at most 128 pixels: if one of two
# channels is stored at a lower resolution in its columns, the other one in its rows.
_JPEG_PIXELS_PER_BYTE = 8 * 128
_UNCOMPRESSED_BMP = (0, 3)  # values of the compression: plain, and with masks of the channels
_SHORT_BMP_HEADER = 12  # bytes
# Arithmetic codes have no such limit; nearly no program writes them.
_ARITHMETIC_PIXELS_PER_BYTE = 1 << 14
# Frames of an animation can be small, but several canvases are allocated. The limit is not that
# of the format, but far from what programs write.
_ANIMATED_WEBP_PIXELS_PER_BYTE = 1 << 15
_SMALL_CANVAS = 1 << 25  # pixels; so many need little memory, and can be of one colour
_ANIMATED = 0x02  # a flag of WebP's extended header
# A scan of a few bytes passes over all pixels. Programs write about ten.
_MAX_SCANS = 100
# By the first two bytes: the fewest bits of a pixel, in text a digit and a space for each value.
_PNM_BITS = {b'P1': 8, b'P2': 16, b'P3': 48, b'P4': 1, b'P5': 8, b'P6': 24}


def check(image: Image.Image, name: str, data: bytes, path: Path, limit: int) -> None:
    """Check an image that Pillow has opened and not yet decoded.

    Args:
        image: The image.
        name: Its format, see :mod:`datasets.formats`.
        data: The bytes of the file.
        path: The file, for the message.
        limit: The largest number of pixels.

    Raises:
        InputError: The image has more pixels, the file is too small for them, or it is made to
            take long.
    """
    width, height = image.size
    pixel_limit.check(width, height, path, limit)
    if name == formats.JPEG_2000 and not jpeg_2000.has_all_tiles(data):
        raise InputError(f'{path}: damaged or truncated (tiles of the image are missing)')
    if name == formats.JPEG:
        needed = _bytes_of_jpeg(width * height, data, path)
    elif name == formats.PNM:
        needed = width * height * _PNM_BITS[data[:2]] // 8
    elif name == formats.WEBP and data[12:16] == b'VP8X' and data[20] & _ANIMATED:
        needed = max(0, width * height - _SMALL_CANVAS) // _ANIMATED_WEBP_PIXELS_PER_BYTE
    elif name == formats.BMP and image.info.get('compression') in _UNCOMPRESSED_BMP:
        place = 24 if data[14] == _SHORT_BMP_HEADER else 28
        needed = height * (width * int.from_bytes(data[place : place + 2], 'little') // 8)
    else:
        return
    pixel_limit.check_bytes(width, height, needed, len(data), path)


def _bytes_of_jpeg(pixels: int, data: bytes, path: Path) -> int:
    frame, scans = jpeg_markers.frame_and_scans(data)
    if scans > _MAX_SCANS:
        raise InputError(f'{path}: damaged ({scans} scans, but at most {_MAX_SCANS} are read)')
    huffman = frame in (*jpeg_markers.BASELINE, jpeg_markers.PROGRESSIVE)
    return pixels // (_JPEG_PIXELS_PER_BYTE if huffman else _ARITHMETIC_PIXELS_PER_BYTE)


def check_tiff(data: bytes, path: Path, limit: int) -> None:
    """Check the tags of a TIFF, which can be of a kind that Pillow does not open.

    Raises:
        InputError: The image or one of its tiles has more pixels than ``limit``, or the file is
            too small for them.
    """
    wanted = (_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _BITS)
    tags = tiff_tags.read_tags(data, (*wanted, _TILE_WIDTH, _TILE_HEIGHT))
    width, height = _first(tags, _WIDTH, 0), _first(tags, _HEIGHT, 0)
    pixel_limit.check(width, height, path, limit)
    pixel_limit.check(_first(tags, _TILE_WIDTH, 1), _first(tags, _TILE_HEIGHT, 1), path, limit)
    if _first(tags, _COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED:
        # Of YCbCr, two of three samples may be stored at a lower resolution.
        stored = 1 if _first(tags, _PHOTOMETRIC, 0) == _YCBCR else _first(tags, _SAMPLES, 1)
        needed = height * (width * stored * _first(tags, _BITS, 1) // 8)
        pixel_limit.check_bytes(width, height, needed, len(data), path)


def _first(tags: dict[int, tuple[int, ...]], tag: int, default: int) -> int:
    return tags.get(tag, ())[0] if tags.get(tag) else default
