"""Draw the masks of COCO's segmentations: polygons, or an RLE as numbers or as compressed text.

    coco_masks.check(segmentation, height, width)
    mask = coco_masks.draw(segmentation, height, width)

Both formats are those of cocoapi, common/maskApi.c. :func:`check` looks at types and sizes before
anything is drawn, as an outline of a few numbers can be longer than the memory.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from common.terminal.short_repr import short_repr

_FINE = 5  # grid points per pixel along an outline
MAX_COORDINATE = 1_000_000  # pixels; an outline may leave its image
MAX_OUTLINE = 5_000_000  # pixels that the outlines of an image pass through together
_MAX_DIGITS = 12  # of 5 bits, of a number in a compressed RLE


def check(segmentation: Any, height: int, width: int) -> float:
    """Check that a segmentation can be drawn.

    Args:
        segmentation: A value of JSON.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        An upper bound of the length of its outlines in pixels.

    Raises:
        ValueError: It is no segmentation of such an image; the message says why.
    """
    if isinstance(segmentation, dict):
        _runs(segmentation, height, width)
        return 0
    if isinstance(segmentation, list):
        return sum(map(_check_polygon, segmentation))
    raise ValueError('its segmentation is neither a list of polygons nor an RLE')


def check_outlines(segmentations: Iterable[Any]) -> None:
    """Raise ``ValueError`` if the outlines of an image are too long to be drawn.

    Args:
        segmentations: Those of all its instances, which :func:`check` accepts.
    """
    polygons = (each for found in segmentations if isinstance(found, list) for each in found)
    length = 0.0
    for polygon in polygons:
        corners = _corners(polygon)
        length += np.abs(corners - np.roll(corners, -1, axis=0)).max(axis=1).sum()
        if length > MAX_OUTLINE:
            raise ValueError(f'its outlines are longer than {MAX_OUTLINE} pixels together')


def draw(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Return the mask of a segmentation, (H, W) bool.

    Args:
        segmentation: Polygons, or an RLE with its counts as numbers or as compressed text, that
            :func:`check` accepts.
        height: Height of the image in pixels, H.
        width: Width of the image in pixels, W.
    """
    first, part = draw_columns(segmentation, height, width)
    mask = np.zeros((width, height), bool)
    mask[first : first + part.shape[1]] = part.T
    return mask.T


def draw_columns(segmentation: Any, height: int, width: int) -> tuple[int, np.ndarray]:
    """Return the columns of a mask that its polygons can reach: a small part of a large image.

    Args:
        segmentation: As for :func:`draw`.
        height: As for :func:`draw`.
        width: As for :func:`draw`.

    Returns:
        The first of the columns, and the mask in them, (H, columns) bool.
    """
    if isinstance(segmentation, dict):
        runs = _runs(segmentation, height, width)
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return 0, values.reshape(width, height).T  # runs go down the columns
    polygons = [_corners(polygon) for polygon in segmentation]
    least = min((polygon[:, 0].min() for polygon in polygons), default=0)
    most = max((polygon[:, 0].max() for polygon in polygons), default=0)
    first, end = (int(np.clip(x, 0, width)) for x in (np.floor(least), np.ceil(most) + 1))
    values = np.zeros((end - first) * height, bool)
    for corners in polygons:
        _add_polygon(values, first, corners, height, width)
    return first, values.reshape(end - first, height).T


def _check_polygon(polygon: Any) -> float:
    """Return an upper bound of the length of an outline; raise ``ValueError`` for no polygon."""
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        raise ValueError('a polygon is not a list of numbers')
    if not polygon or len(polygon) % 2:
        raise ValueError(f'a polygon has {len(polygon)} numbers instead of pairs of x and y')
    least, most = min(polygon), max(polygon)
    if not -MAX_COORDINATE <= least <= most <= MAX_COORDINATE:
        raise ValueError(f'a polygon has coordinates above {MAX_COORDINATE}')
    return (most - least) * len(polygon)


def _corners(polygon: list[float]) -> np.ndarray:
    """Return the corners of a polygon, (points, 2) float64, x and y."""
    return np.array(polygon, np.float64).reshape(-1, 2)


def _runs(rle: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return the run lengths of an RLE, which alternate between outside and inside."""
    counts = rle.get('counts')
    if isinstance(counts, str):
        counts = _decode_run_lengths(counts)
    if not isinstance(counts, list) or not set(map(type, counts)) <= {int}:
        raise ValueError('the counts of its RLE are no list of whole numbers')
    # Sums of larger numbers could overflow.
    if counts and not 0 <= min(counts) <= max(counts) <= height * width:
        raise ValueError(f'a run of its RLE is not within {width}x{height} pixels')
    runs = np.array(counts, np.int64)
    if runs.sum() != height * width:
        raise ValueError(f'its RLE has {runs.sum()} pixels, its image {width}x{height}')
    if rle.get('size', [height, width]) != [height, width]:
        raise ValueError(
            f'the size of its RLE is {short_repr(rle["size"])}, not the [{height}, {width}] '
            '(height, width) of its image'
        )
    return runs


def _decode_run_lengths(text: str) -> list[int]:
    """Return the run lengths in the compressed text of an RLE.

    rleFrString: digits of 5 bits, low ones first, with a sixth bit for "more follows". From the
    fourth run on, a number is the difference to the run before the last.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift >= 5 * _MAX_DIGITS:
            raise ValueError('the counts of its RLE are no compressed text')
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            if digit & 16:  # the sign
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _add_polygon(
    values: np.ndarray, first: int, corners: np.ndarray, height: int, width: int
) -> None:
    """Set the interior of a polygon, pixel-exact with COCO's tools.

    rleFrPoly: the outline is drawn on a grid five times as fine; where it crosses the middle of a
    pixel column, the mask changes from there down.

    Args:
        values: (columns * H) bool, a part of the mask by columns, to change.
        first: The first of these columns.
        corners: (points, 2) float64, x and y.
        height: Height of the image in pixels, H.
        width: Width of the image in pixels, W.
    """
    grid = (_FINE * corners + 0.5).astype(np.int64)
    x, y = np.concatenate(
        [_line(start, end) for start, end in zip(grid, np.roll(grid, -1, axis=0))], axis=1
    )
    steps = np.flatnonzero(np.diff(x))
    column = (np.minimum(x[steps], x[steps + 1]) + 0.5) / _FINE - 0.5
    row = (np.minimum(y[steps], y[steps + 1]) + 0.5) / _FINE - 0.5
    middle = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[middle], 0, height)).astype(np.int64)
    changes = np.sort((column[middle].astype(np.int64) - first) * height + row)
    if changes.size:
        # Inside after an odd number of changes; none is open behind the last.
        runs = np.diff(changes)
        values[changes[0] : changes[-1]] |= np.repeat(np.arange(len(runs)) % 2 == 0, runs)


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the grid points of a line, (2, points), one per step along its longer axis."""
    length = np.abs(end - start)
    along = 0 if length[0] >= length[1] else 1
    backwards = start[along] > end[along]
    low, high = (end, start) if backwards else (start, end)
    offsets = np.arange(length[along] + 1)
    slope = (high[1 - along] - low[1 - along]) / max(length[along], 1)
    line = np.empty((2, len(offsets)), np.int64)
    line[along] = low[along] + offsets
    line[1 - along] = (low[1 - along] + slope * offsets + 0.5).astype(np.int64)
    return line[:, ::-1] if backwards else line
