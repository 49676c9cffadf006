"""Count the values and colours of masks, before it is known what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.errors import InputError
from common.process_map import map_samples
from datasets import pixel_limit
from datasets.decoding import decoding
from datasets.readers import mask_files
from datasets.readers.mask_files import Mask

MAX_COLOURS = 4096  # of all masks, to be counted
Colour = tuple[int, int, int]
Key = TypeVar('Key', int, Colour)


@dataclass
class Count:
    """How often a value or a colour occurs.

    Attributes:
        pixels: Number of pixels.
        masks: Number of masks that have it.
        solid: Whether some 2x2 pixels are all of it. Blends at the edges of classes never are.
    """

    pixels: int = 0
    masks: int = 0
    solid: bool = False

    def add(self, other: 'Count') -> None:
        """Add the count of other masks."""
        self.pixels += other.pixels
        self.masks += other.masks
        self.solid |= other.solid


def add_counts(own: dict[Key, Count], others: Mapping[Key, Count]) -> None:
    """Add counts to those of the same keys; new keys beyond ``MAX_COLOURS`` are left out."""
    for key, count in others.items():
        if key in own or len(own) < MAX_COLOURS:
            own.setdefault(key, Count()).add(count)


@dataclass
class MaskContents:
    """What some masks contain.

    Attributes:
        masks: Number of masks.
        grey: Counts of the values of grey masks.
        indexed: Counts of the indices of palette masks.
        shown: The colours that palettes give to each of these indices, with their counts.
        colours: Counts of the colours of RGB masks.
        largest: The mask with the most colours.
        most: Number of its colours.
    """

    masks: int = 0
    grey: dict[int, Count] = field(default_factory=dict)
    indexed: dict[int, Count] = field(default_factory=dict)
    shown: dict[int, dict[Colour, Count]] = field(default_factory=dict)
    colours: dict[Colour, Count] = field(default_factory=dict)
    largest: Path = Path()
    most: int = 0

    def add(self, other: 'MaskContents') -> None:
        """Add the contents of other masks; colours beyond ``MAX_COLOURS`` are left out."""
        self.masks += other.masks
        add_counts(self.grey, other.grey)
        add_counts(self.indexed, other.indexed)
        add_counts(self.colours, other.colours)
        for index, colours in other.shown.items():
            add_counts(self.shown.setdefault(index, {}), colours)
        if other.most > self.most:
            self.largest, self.most = other.largest, other.most


def count_values(paths: Sequence[Path], max_pixels: int, processes: int) -> MaskContents:
    """Return the contents of all masks.

    Args:
        paths: The files.
        max_pixels: Pixels of the largest mask.
        processes: Number of worker processes.

    Raises:
        InputError: A mask cannot be used.
    """
    total = MaskContents()
    for contents in map_samples(paths, partial(_contents, max_pixels), processes, 'counting'):
        total.add(contents)
    return total


def _contents(max_pixels: int, paths: Sequence[Path], index: int) -> MaskContents:
    path = paths[index]
    with decoding(path), pixel_limit.labels_up_to(max_pixels):
        mask = mask_files.read(path)
    counts = _counts(_codes(mask))
    contents = MaskContents(1, largest=path, most=len(counts))
    if mask.values is None or mask.is_rgb:
        contents.colours = {
            (code >> 16, code >> 8 & 255, code & 255): count
            for code, count in list(counts.items())[:MAX_COLOURS]
        }
    elif mask.has_palette:
        contents.indexed = counts
        contents.shown = {
            value: {tuple(mask.shown[value].tolist()): count} for value, count in counts.items()
        }
    else:
        contents.grey = counts
    return contents


def _codes(mask: Mask) -> np.ndarray:
    """Return a number for the value or the colour of each pixel, (H, W) int32."""
    if mask.values is not None:
        return mask.values.astype(np.int32) * (0x010101 if mask.is_rgb else 1)
    if mask.colours is None:
        raise InputError(f'{mask.path}: has no pixels')
    red, green, blue = np.moveaxis(mask.colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _counts(codes: np.ndarray) -> dict[int, Count]:
    """Return the counts of the numbers of a mask."""
    flat = codes.ravel()
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))  # of runs of equal numbers
    lengths = np.diff(np.append(starts, flat.size))
    found, run = np.unique(flat[starts], return_inverse=True)
    pixels = np.bincount(run, lengths).astype(np.int64)
    same = (codes[:-1] == codes[1:])[:, 1:] & (codes[:-1, 1:] == codes[:-1, :-1])
    same &= codes[1:, 1:] == codes[1:, :-1]
    solid = np.isin(found, codes[1:, 1:][same])
    return {
        code: Count(count, 1, is_solid)
        for code, count, is_solid in zip(found.tolist(), pixels.tolist(), solid.tolist())
    }
