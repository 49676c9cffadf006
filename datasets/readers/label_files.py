"""Read PNG label files strictly and translate their values or colours into class indices.

Pillow decodes them, because it keeps palette indices and refuses truncated files; OpenCV does
neither.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common.errors import InputError
from datasets import formats, pixel_limit, png_chunks
from datasets.decoding import decoding
from datasets.info import IGNORE
from datasets.library_settings import open_with_pillow
from datasets.png_chunks import PngFacts

NO_CLASS = -1
COLOUR_MODES = ('RGB', 'RGBA')
_LOSSY = (formats.JPEG, formats.JPEG_2000, formats.WEBP, formats.AVIF)  # they change pixels


@dataclass(frozen=True)
class PngFile:
    """A decoded PNG.

    Attributes:
        image: The image; Pillow scales grey values below 8 bits, and drops the low byte of colours.
        data: The bytes of the file.
        facts: What its chunks say.
    """

    image: Image.Image
    data: bytes
    facts: PngFacts

    @property
    def bits(self) -> int:
        """Bits of a stored value, 1 to 16."""
        return self.facts.bits

    @property
    def is_grey(self) -> bool:
        """Whether the file stores grey values, without alpha."""
        return self.facts.colour_type == png_chunks.GREY


def read_indices(path: Path, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """Return the values of an 8-bit grey or palette PNG.

    Args:
        path: The label file.
        palette: Colours of the classes, if the label files of the data set contain class indices. A
            file whose palette has these colours in another order is refused, because its values are
            not class indices.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: The file is unreadable, or not an 8-bit grey or palette PNG.
    """
    image = _open_png(path)
    if image.mode in COLOUR_MODES:
        raise InputError(
            f'{path}: a colour image, but class indices are expected; use the label files as '
            'published, or save the indices as an 8-bit grey PNG'
        )
    if image.mode not in ('L', 'P'):
        bits = ' (is it a file of instance ids?)' if image.mode.startswith('I') else ''
        raise InputError(
            f'{path}: {image.mode} pixels{bits}; a label file must have 8-bit class indices'
        )
    values = np.asarray(image)
    if palette is not None and image.mode == 'P':
        _check_palette(values, image.getpalette() or [], palette, path)
    return values


def read_colours(path: Path) -> np.ndarray:
    """Return the colours of a PNG, (H, W, 3) uint8, RGB; raises ``InputError``."""
    image = _open_png(path)
    if image.mode not in (*COLOUR_MODES, 'P'):
        raise InputError(
            f'{path}: grey values, but colours are expected; are these class indices already?'
        )
    return np.asarray(image.convert('RGB'))


def values_table(meanings: Mapping[int, int]) -> np.ndarray:
    """Return a table for :func:`translate`, (256,) int16, from file values to class indices.

    The table contains ``NO_CLASS`` for values without a meaning.
    """
    table = np.full(256, NO_CLASS, np.int16)
    table[list(meanings)] = list(meanings.values())
    return table


def translate(values: np.ndarray, table: np.ndarray, path: Path) -> np.ndarray:
    """Translate file values into class indices.

    Args:
        values: (H, W) uint8.
        table: (256,) int16, from :func:`values_table`.
        path: The label file, for the message.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: A value has no class index.
    """
    wrong = np.flatnonzero(occurring_values(values) & (table == NO_CLASS))
    if wrong.size:
        raise InputError(
            f'{path}: holds the values {", ".join(map(str, wrong[:5]))}, which have no meaning '
            'in this data set; does the file belong to another one?'
        )
    return cv2.LUT(values, table.astype(np.uint8))


def occurring_values(values: np.ndarray) -> np.ndarray:
    """Return which of the 256 values occur in a (H, W) uint8 array, as (256,) bool."""
    return cv2.calcHist([values], [0], None, [256], [0, 256]).ravel() > 0


def indices_of_colours(
    image: np.ndarray, meanings: Mapping[tuple[int, int, int], int], path: Path
) -> np.ndarray:
    """Translate colours into class indices.

    Args:
        image: (H, W, 3) uint8, RGB.
        meanings: Class indices by colour (red, green, blue).
        path: The label file, for the message.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: A colour has no class index.
    """
    packed = _pack_colours(image)
    colours = _pack_colours(np.array(list(meanings), np.uint8))
    order = np.argsort(colours)
    places = np.minimum(np.searchsorted(colours, packed, sorter=order), len(colours) - 1)
    positions = order[places]
    wrong = colours[positions] != packed
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        colour = ', '.join(map(str, image[row, column]))
        raise InputError(
            f'{path}: the colour ({colour}) at row {row}, column {column} belongs to no class; '
            f'{wrong.mean():.2%} of the pixels have such colours'
        )
    return np.array(list(meanings.values()), np.uint8)[positions]


def _pack_colours(colours: np.ndarray) -> np.ndarray:
    """Return one number per colour: (..., 3) -> (...)."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def open_png(path: Path) -> PngFile:
    """Open a PNG and decode it; raises ``InputError``."""
    with decoding(path, '; download it again'):
        name, data = formats.read_file(path)
        if name != formats.PNG:
            raise InputError(f'{path}: {_not_png(name)}')
        facts = png_chunks.check(data, path)
        pixel_limit.check_label(facts.width, facts.height, path)
        with open_with_pillow(io.BytesIO(data), name) as image:
            image.load()
    return PngFile(image, data, facts)


def _not_png(name: str | None) -> str:
    if name is None:
        return 'not an image; a label file must be PNG'
    usual = formats.NAMES[name]
    if name in _LOSSY:
        return (
            f'{usual}, but a label file must be PNG: {usual} changes pixels, so that classes '
            'mix at their edges; save the masks as PNG where they were drawn, because a converted '
            f'{usual} keeps the wrong pixels'
        )
    return f'{usual}, but a label file must be PNG; convert it, which keeps every pixel'


def _open_png(path: Path) -> Image.Image:
    """Open a PNG with pixels as stored; raises ``InputError``."""
    png = open_png(path)
    # Decoders scale grey values with fewer than 8 bits to 0..255.
    if png.is_grey and png.bits < 8:
        raise InputError(f'{path}: {png.bits}-bit grey, but label files must have 8 bits')
    return png.image


def _check_palette(values, own: list[int], palette: Sequence[Sequence[int]], path: Path):
    """Raise ``InputError`` if a file's own palette gives a class colour to another index."""
    expected = {tuple(colour): index for index, colour in enumerate(palette)}
    for index in np.flatnonzero(occurring_values(values)):
        colour = tuple(own[3 * index : 3 * index + 3])
        if index != IGNORE and expected.get(colour, index) != index:
            raise InputError(
                f'{path}: its palette gives index {index} the colour of class {expected[colour]}, '
                'so its indices are not class indices; use the label files as published, or save '
                'the indices as an 8-bit grey PNG'
            )
