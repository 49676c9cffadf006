"""Pictures of optical flow: how far each pixel has moved since the frame before.

A file is an 8-bit RGB PNG as in TI's EdgeAI-Lite (TexasInstruments/edgeai-torchvision,
references/edgeailite/docs/motion_segmentation.md at f85ec314): red is u + 128 and green v + 128,
with the movement (u, v) to the right and downwards in pixels of this picture; blue is the
confidence, 0 to 255. Read as BGR like every other picture, the channels are confidence, v and u.

What moves pixels changes their vectors as well. The functions below take and return float32 arrays
(H, W, 3) of such values, because enlarged vectors do not fit into 8 bits.
"""

import math
from pathlib import Path

import numpy as np

from common import once
from common.errors import InputError
from datasets import formats, pixel_limit, png_chunks
from datasets.decoding import decoding
from datasets.keys import DEFAULT_READING, ImageReading
from datasets.samples import regular_file

ZERO = 128  # value of a vector's component that is 0
U, V = 2, 1  # channels of the components, in BGR
SURE = 255  # the highest confidence
LONGEST = 127  # pixels of the longest movement that a file can hold in all directions
_RGB = 2  # colour type of PNG


def read(path: Path, reading: ImageReading = DEFAULT_READING) -> np.ndarray:
    """Return a picture of optical flow, (H, W, 3) uint8: confidence, v + 128, u + 128.

    Raises:
        InputError: The file cannot be read, or is no 8-bit RGB PNG.
    """
    with decoding(path):
        return _decode(*formats.read_file(regular_file(path)), path, reading)


def decode(data: bytes, name: str, reading: ImageReading = DEFAULT_READING) -> np.ndarray:
    """Decode the bytes of a file as :func:`read` does; ``name`` is what the messages call it."""
    path = Path(name)
    with decoding(path):
        return _decode(formats.format_of(data[: formats.HEAD_BYTES]), data, path, reading)


def _decode(name: str | None, data: bytes, path: Path, reading: ImageReading) -> np.ndarray:
    if name != formats.PNG:
        raise _no_flow(path, 'no PNG')
    facts = png_chunks.check(data, path)
    if facts.bits != 8 or facts.colour_type != _RGB:
        raise _no_flow(path, f'{facts.bits}-bit, of the PNG colour type {facts.colour_type}')
    pixel_limit.check(facts.width, facts.height, path, reading.max_pixels)
    return png_chunks.decode(data, facts)


def scale_vectors(values: np.ndarray, across: float, down: float) -> np.ndarray:
    """Return flow whose picture has been resized.

    Args:
        values: (H, W, 3) float32.
        across: New width by old width.
        down: New height by old height.
    """
    scaled = values.copy()
    scaled[..., U] = (values[..., U] - ZERO) * across + ZERO
    scaled[..., V] = (values[..., V] - ZERO) * down + ZERO
    return scaled


def mirror_vectors(values: np.ndarray) -> np.ndarray:
    """Return flow whose picture has been mirrored horizontally."""
    return scale_vectors(values, -1.0, 1.0)


def turn_vectors(values: np.ndarray, angle: float) -> np.ndarray:
    """Return flow whose picture has been turned counter-clockwise by ``angle`` degrees."""
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    u, v = values[..., U] - ZERO, values[..., V] - ZERO
    turned = values.copy()
    turned[..., U] = cosine * u + sine * v + ZERO
    turned[..., V] = cosine * v - sine * u + ZERO
    return turned


def as_picture(values: np.ndarray, name: str | Path) -> np.ndarray:
    """Return flow in 8 bits, rounded; warn once of vectors that are too long and are cut.

    Args:
        values: (H, W, 3) float32.
        name: What the warning calls the picture.
    """
    rounded = np.rint(values)
    cut = ((rounded < 0) | (rounded > 255))[..., [U, V]].any(axis=2)
    if cut.any():
        once.warn(
            'cut flow',
            f'{name}: {cut.mean():.2%} of its vectors are longer than {LONGEST} pixels at '
            f'{values.shape[1]}x{values.shape[0]} pixels and are cut; smaller pictures of flow and '
            'camera images of the same size avoid it',
        )
    return np.clip(rounded, 0, 255).astype(np.uint8)


def _no_flow(path: Path, what: str) -> InputError:
    return InputError(
        f'{path}: {what}, but optical flow is an 8-bit RGB PNG of u + 128, v + 128 and confidence; '
        'python -m datasets.prepare flow writes such files'
    )
