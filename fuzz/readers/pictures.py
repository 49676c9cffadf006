"""Small pictures for valid files, and encoders of formats that Pillow cannot write."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 12, 17  # neither is a multiple of 8, as blocks and packed bits are
_LOSSY_DIFFERENCE = 16  # mean absolute difference of a lossy format
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def smooth(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a picture of soft colours, (H, W, 3) uint8, RGB."""
    small = rng.integers(40, 216, (3, 3, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def saved(image: Image.Image, **options: Any) -> bytes:
    """Return an image as a file of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def close_to(rgb: np.ndarray, found: np.ndarray) -> bool:
    """Return whether a lossy format has kept a picture; ``found`` is BGR, as readers return it."""
    if found.shape != rgb.shape or found.dtype != np.uint8:
        return False
    difference = np.abs(found[..., ::-1].astype(int) - rgb.astype(int))
    return bool(difference.mean() < _LOSSY_DIFFERENCE)


def equal_to(rgb: np.ndarray, found: np.ndarray) -> bool:
    """Return whether a lossless format has kept a picture; ``found`` is BGR."""
    return np.array_equal(found[..., ::-1], rgb)


def png(pixels: np.ndarray, bits: int, interlaced: bool = False, extra: bytes = b'') -> bytes:
    """Return a PNG of any number of bits, also interlaced.

    Args:
        pixels: (H, W) or (H, W, C), uint8 or uint16, values below 2**bits.
        bits: Bits of a value: 1, 2, 4, 8 or 16.
        interlaced: Whether the rows are those of the seven passes of Adam7.
        extra: Chunks to put before the pixels.
    """
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    passes = [pixels[y::dy, x::dx] for x, y, dx, dy in _ADAM7] if interlaced else [pixels]
    rows = b''.join(_rows(part, bits) for part in passes if part.size)
    header = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, int(interlaced))
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + extra
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def _rows(pixels: np.ndarray, bits: int) -> bytes:
    """Return unfiltered rows."""
    flat = pixels.reshape(len(pixels), -1)
    if bits == 16:
        packed = flat.astype('>u2').view(np.uint8)
    elif bits == 8:
        packed = flat.astype(np.uint8)
    else:
        shifts = np.arange(bits - 1, -1, -1)
        packed = np.packbits((flat[..., None] >> shifts & 1).reshape(len(flat), -1), axis=1)
    return b''.join(b'\0' + row.tobytes() for row in packed)
