"""Read and write depth maps: 16-bit grey PNG files, whose values are metres times a scale.

The scale of KITTI is 256, so values end at 255.996 m and have steps of 4 mm. A pixel of unknown
depth has the value 0.
"""

import io
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError
from common.files import replacing
from datasets import formats, pixel_limit, png_chunks
from datasets.decoding import decoding
from datasets.library_settings import open_with_pillow

SCALE = 256.0  # values of a metre
MIN_SCALE, MAX_SCALE = 0.01, 1e6
_LARGEST = 65535


def read(path: Path, scale: float = SCALE) -> np.ndarray:
    """Return the metres of a depth map, (H, W) float32, 0 where unknown; raises ``InputError``.

    Args:
        path: The file.
        scale: Values of a metre.
    """
    return (read_values(path) / np.float64(scale)).astype(np.float32)


def read_values(path: Path) -> np.ndarray:
    """Return the values of a 16-bit grey PNG, (H, W) uint16.

    Raises:
        InputError: The file is unreadable, or of another kind.
    """
    with decoding(path, '; download it again'):
        name, data = formats.read_file(path)
        if name != formats.PNG:
            usual = formats.NAMES.get(name or '', 'not an image')
            raise InputError(f'{path}: {usual}, but a depth map must be a 16-bit grey PNG')
        facts = png_chunks.check(data, path)
        if facts.bits != 16 or facts.colour_type != png_chunks.GREY:
            kind = 'grey' if facts.colour_type == png_chunks.GREY else 'colour'
            raise InputError(
                f'{path}: {facts.bits}-bit {kind}, but a depth map must be a 16-bit grey PNG of '
                'metres times a scale, such as 256; pictures of depth cannot be read back'
            )
        pixel_limit.check_label(facts.width, facts.height, path)
        with open_with_pillow(io.BytesIO(data), name) as image:
            return np.asarray(image).astype(np.uint16)


def write(path: Path, depth: np.ndarray) -> None:
    """Write a depth map with the scale 256; an existing file is replaced.

    Args:
        path: The file.
        depth: (H, W) float32, metres, 0 where unknown. Depth beyond 255.996 m becomes that, and
            known depth below 2 mm the smallest value that is not 0. NaN and what is below 0, which
            networks can predict, become 0.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(encode(depth))


def values_of(depth: np.ndarray) -> np.ndarray:
    """Return the values of the file that :func:`write` writes, (H, W) uint16."""
    values = np.nan_to_num(np.rint(depth.astype(np.float64) * SCALE))
    values = np.clip(values, 0, _LARGEST).astype(np.uint16)
    values[(values == 0) & (depth > 0)] = 1
    return values


def encode(depth: np.ndarray) -> bytes:
    """Return the bytes of the file that :func:`write` writes."""
    values = values_of(depth)
    encoded, data = cv2.imencode('.png', values)
    if not encoded:
        raise InputError(f'the depth map: PNG cannot hold {depth.shape[1]}x{depth.shape[0]} pixels')
    return data.tobytes()
