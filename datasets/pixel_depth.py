"""Which kinds of pixels are read, and how 16 bits per channel become 8."""

from pathlib import Path

import numpy as np

from common import once
from common.errors import InputError
from datasets import tiff_tags
from datasets.keys import ImageReading

REMEDY = 'save it with 8 or 16 bits per channel in another program, for example as PNG'
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of TIFF
_SEPARATE = 2  # planes of channels, one after the other
_LOG_LUV = (32844, 32845)  # photometric values of packed floating-point pixels
_KINDS = {2: 'signed', 3: 'floating-point', 5: 'complex', 6: 'complex'}  # by TIFF's sample format
_USUAL_DEPTHS = (8, 10, 12, 14)  # of cameras that write files with 16 bits
_DARKEST = 64  # an image that uses 14 of 16 bits has no higher 8-bit value


def check_tiff(data: bytes, path: Path) -> None:
    """Raise ``InputError`` for a TIFF whose pixels are not unsigned integers of up to 16 bits.

    Packed values in separate planes are refused as well: OpenCV fills in two channels of three with
    what happens to be in memory.
    """
    wanted = (_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT)
    tags = tiff_tags.read_tags(data, wanted)
    bits = _bits(tags)
    if set(tags.get(_PHOTOMETRIC, ())) & set(_LOG_LUV):
        raise _unknown_range(path, 32, 'floating-point')
    for kind in tags.get(_SAMPLE_FORMAT, ()):
        if kind in _KINDS:
            raise _unknown_range(path, bits, _KINDS[kind])
    if bits > 16:
        raise _unknown_range(path, bits, 'integer')
    if 8 < bits < 16 and _SEPARATE in tags.get(_PLANES, ()) and len(tags[_BITS_PER_SAMPLE]) > 1:
        raise InputError(f'{path}: {bits}-bit channels in separate planes are not read; {REMEDY}')


def check_type(pixels: np.dtype, path: Path) -> None:
    """Raise ``InputError`` for pixels that are not unsigned integers of 8 or 16 bits."""
    if pixels not in (np.uint8, np.uint16):
        kind = {'f': 'floating-point', 'i': 'signed'}.get(pixels.kind, 'integer')
        raise _unknown_range(path, 8 * pixels.itemsize, kind)


def _bits(tags: dict[int, tuple[int, ...]]) -> int:
    return max(tags.get(_BITS_PER_SAMPLE, ()), default=1)


def _unknown_range(path: Path, bits: int, kind: str) -> InputError:
    return InputError(
        f'{path}: {bits}-bit {kind} pixels, whose black and white are unknown; {REMEDY}'
    )


def reduces(reading: ImageReading) -> bool:
    """Return whether ``bit_depth`` asks for another conversion than that of the decoders."""
    return reading.bit_depth not in (None, 16)


def check_converted(data: bytes, reading: ImageReading, path: Path) -> None:
    """Raise ``InputError`` if a decoder has made 8 bits of 16, so that ``bit_depth`` comes late."""
    if reduces(reading) and _bits(tiff_tags.read_tags(data, (_BITS_PER_SAMPLE,))) > 8:
        raise InputError(
            f'{path}: bit_depth {reading.bit_depth} cannot be applied to pixels that are neither '
            f'RGB nor grey, such as CMYK; {REMEDY}'
        )


def reduce_depth(deep: np.ndarray, reading: ImageReading, path: Path) -> np.ndarray:
    """Return the 8 highest bits of ``bit_depth`` bits, (H, W, 3) uint8; the rest is cut off.

    Args:
        deep: (H, W, 3) uint16.
        reading: The settings; ``bit_depth`` is set.
        path: The file, for the message.

    Raises:
        InputError: A value has more bits.
    """
    depth, highest = reading.bit_depth or 16, int(deep.max(initial=0))
    if highest >> depth:
        raise InputError(
            f'{path}: holds the value {highest}, but bit_depth is {depth}, up to '
            f'{(1 << depth) - 1}; set bit_depth: {highest.bit_length()}, or convert the file'
        )
    return (deep >> (depth - 8)).astype(np.uint8)


def warn_if_dark(image: np.ndarray, deep: np.ndarray, path: Path) -> None:
    """Warn, once in a run, of an image whose 16-bit values use the lowest bits only.

    Args:
        image: (H, W, 3) uint8, as read.
        deep: (H, W, 3) uint16, the values in the file.
        path: The file, for the message.
    """
    highest = int(deep.max(initial=0))
    depth = next((bits for bits in _USUAL_DEPTHS if highest < 1 << bits), None)
    if highest and depth and image.max(initial=0) <= _DARKEST:
        once.warn(
            'bit_depth',
            f'{path}: its 16-bit values end at {highest}, so it is read as a nearly black image; '
            f'if its pixels have {depth} bits, set bit_depth: {depth} (--set bit_depth={depth}, '
            f'or --bit-depth {depth} in python -m datasets.prepare); bit_depth: 16 omits this '
            'warning',
        )
