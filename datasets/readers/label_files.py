"""Label files: strict reading of class indices and of colours, and what their values stand for.

A label file is PNG. Pillow reads it, because it keeps the indices of a palette and refuses
truncated files; OpenCV does neither.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from common.errors import InputError
from datasets.info import IGNORE

UNKNOWN = -1
COLOUR_MODES = ('RGB', 'RGBA')
_GREY, _BITS, _KIND = 0, 24, 25  # a PNG's colour type for grey; where its header has bits and type


def read_indices(path: Path, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """The values of an 8-bit grey or palette PNG, ``uint8`` (H, W); raises ``InputError``.

    palette: the colours of the data set, where its files have values that are class indices. A
    file whose own palette has them in another order is refused, since its indices mean something
    else.
    """
    image = _open(path)
    if image.mode in COLOUR_MODES:
        raise InputError(
            f'{path}: a colour image, where class indices are expected; take the label files as '
            'published, or save the indices as 8-bit grey PNG'
        )
    if image.mode not in ('L', 'P'):
        bits = ' (is it a file of instance ids?)' if image.mode.startswith('I') else ''
        raise InputError(
            f'{path}: pixels of kind {image.mode}{bits}, where a label file has 8-bit class indices'
        )
    values = np.asarray(image)
    if palette is not None and image.mode == 'P':
        _check_palette(values, image.getpalette() or [], palette, path)
    return values


def read_colours(path: Path) -> np.ndarray:
    """The colours of a PNG, ``uint8`` (H, W, 3) as red, green, blue; raises ``InputError``."""
    image = _open(path)
    if image.mode not in (*COLOUR_MODES, 'P'):
        raise InputError(
            f'{path}: grey values, where colours are expected; are these class indices already?'
        )
    return np.asarray(image.convert('RGB'))


def is_colour(path: Path) -> bool:
    """Whether a PNG has colours without a palette; raises ``InputError``."""
    return _open(path, pixels=False).mode in COLOUR_MODES


def values_table(meanings: Mapping[int, int]) -> np.ndarray:
    """A table (256,) from file values to class indices for :func:`translate`."""
    table = np.full(256, UNKNOWN, np.int16)
    table[list(meanings)] = list(meanings.values())
    return table


def translate(values: np.ndarray, table: np.ndarray, path: Path) -> np.ndarray:
    """Class indices for the values of a file (H, W), both ``uint8``; raises ``InputError`` for a
    value without a meaning.
    """
    wrong = np.flatnonzero(present(values) & (table == UNKNOWN))
    if wrong.size:
        raise InputError(
            f'{path}: holds the values {", ".join(map(str, wrong[:5]))}, which mean nothing in '
            'this data set; is it a label file of another one?'
        )
    return cv2.LUT(values, table.astype(np.uint8))


def present(values: np.ndarray) -> np.ndarray:
    """Which of the 256 values occur in a ``uint8`` array (H, W), as bool (256,)."""
    return cv2.calcHist([values], [0], None, [256], [0, 256]).ravel() > 0


def indices_of_colours(
    image: np.ndarray, meanings: Mapping[tuple[int, int, int], int], path: Path
) -> np.ndarray:
    """Class indices, ``uint8`` (H, W), for colours (H, W, 3); raises ``InputError`` for a colour
    without a meaning.
    """
    packed = _pack(image)
    colours = _pack(np.array(list(meanings), np.uint8))
    order = np.argsort(colours)
    places = np.minimum(np.searchsorted(colours, packed, sorter=order), len(colours) - 1)
    positions = order[places]
    wrong = colours[positions] != packed
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        colour = ', '.join(map(str, image[row, column]))
        raise InputError(
            f'{path}: the colour ({colour}) at row {row}, column {column} stands for no class; '
            f'{wrong.mean():.2%} of the pixels have such colours'
        )
    return np.array(list(meanings.values()), np.uint8)[positions]


def _pack(colours: np.ndarray) -> np.ndarray:
    """A number a colour: (..., 3) -> (...)."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _open(path: Path, pixels: bool = True) -> Image.Image:
    """A PNG, decoded if its ``pixels`` are asked for; raises ``InputError``."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        image = Image.open(io.BytesIO(data))
        if image.format != 'PNG':
            raise InputError(f'{path}: {image.format}, where a label file is PNG')
        if pixels:
            image.load()
    except UnidentifiedImageError as error:
        raise InputError(f'{path}: not an image') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f'{path}: damaged or truncated ({error}); fetch it again') from error
    if data[_KIND] == _GREY and data[_BITS] < 8:  # decoders stretch such values to 0..255
        raise InputError(f'{path}: {data[_BITS]}-bit grey, where label files have 8 bits')
    return image


def _check_palette(values, own: list[int], palette: Sequence[Sequence[int]], path: Path):
    expected = {tuple(colour): index for index, colour in enumerate(palette)}
    for index in np.flatnonzero(present(values)):
        colour = tuple(own[3 * index : 3 * index + 3])
        if index != IGNORE and expected.get(colour, index) != index:
            raise InputError(
                f'{path}: its palette has index {index} in the colour of class {expected[colour]}, '
                'so its indices are not class indices; take the label files as published, or save '
                'the indices as 8-bit grey PNG'
            )
