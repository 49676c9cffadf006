"""Write TIFF files of any kind of pixels, which no library writes."""

import struct
from pathlib import Path

import numpy as np

FORMATS = {'u': 1, 'i': 2, 'f': 3}  # values of the tag SampleFormat, by numpy's kind


def write_tiff(
    path: Path, pixels: np.ndarray, orientation: int = 1, photometric: int | None = None
) -> Path:
    """Write an uncompressed little-endian TIFF, and return its path.

    Args:
        path: The file.
        pixels: (H, W) or (H, W, channels) of any number type.
        orientation: The EXIF orientation.
        photometric: The meaning of the channels; by default grey or RGB.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width, channels = (*pixels.shape, 1)[:3]
    if photometric is None:
        photometric = 2 if channels > 1 else 1
    tags = [
        (256, 'I', [width]),
        (257, 'I', [height]),
        (258, 'H', [8 * pixels.itemsize] * channels),
        (259, 'H', [1]),
        (262, 'H', [photometric]),
        (273, 'I', None),  # where the pixels begin
        (274, 'H', [orientation]),
        (277, 'H', [channels]),
        (278, 'I', [height]),
        (279, 'I', [pixels.nbytes]),
        (339, 'H', [FORMATS[pixels.dtype.kind]] * channels),
    ]
    end = 8 + 2 + 12 * len(tags) + 4
    lists = [_packed(form, values) for _, form, values in tags if values and len(values) > 2]
    start, place = end + sum(map(len, lists)), end
    entries = b''
    for tag, form, values in tags:
        values = [start] if values is None else values
        data = _packed(form, values)
        if len(data) > 4:
            data, place = struct.pack('<I', place), place + len(data)
        kind = {'H': 3, 'I': 4}[form]
        entries += struct.pack('<HHI', tag, kind, len(values)) + data.ljust(4, b'\0')
    head = b'II*\0' + struct.pack('<IH', 8, len(tags))
    path.write_bytes(head + entries + bytes(4) + b''.join(lists) + pixels.tobytes())
    return path


def _packed(form: str, values) -> bytes:
    return struct.pack(f'<{len(values)}{form}', *values)
