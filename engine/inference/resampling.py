"""Resize maps to the size of an image, rows at a time, as if they covered only part of the maps.

The network's maps cover a view of the image and the padding below and on the right of it. Resizing
uses the exact ratio of the image's pixels to those of the maps. So a view that is both padded and
resized needs no grid of whole pixels, to which its maps would have to be stretched.
"""

from fractions import Fraction

import numpy as np

from engine.inference.test_time import Size

Shares = tuple[Fraction, Fraction]  # of the height and of the width
WHOLE: Shares = (Fraction(1), Fraction(1))


def resize_rows(maps: np.ndarray, size: Size, rows: slice, shown: Shares = WHOLE) -> np.ndarray:
    """Resize the upper left part of maps bilinearly and return some of the resulting rows.

    Pixel centres are at half integers; columns are interpolated before rows, in float32. If a
    number of whole pixels covers the padding too, the result equals the upper left part of
    ``layers.functions.resize`` on the CPU to the last bit.

    Args:
        maps: (C, h, w) float32.
        size: Height and width of the part after resizing.
        rows: Rows to return.
        shown: Height and width of the part as shares of the maps'; by default the whole maps.

    Returns:
        (C, rows, width) float32.
    """
    down_step, across_step = (
        length * share / new for length, new, share in zip(maps.shape[1:], size, shown)
    )
    if down_step == across_step == 1:
        return maps[:, rows, : size[1]]
    above, below, down = _taps(maps.shape[1], down_step, rows)
    left, right, across = _taps(maps.shape[2], across_step, slice(0, size[1]))
    first = above[0]
    part = maps[:, first : below[-1] + 1]
    with np.errstate(invalid='ignore'):  # infinity, from weights that have it
        part = part[..., left] * (1 - across) + part[..., right] * across
        down = down[:, None]
        scores = part[:, above - first] * (1 - down)
        lower = part[:, below - first]
        lower *= down
        scores += lower
    return scores


def _taps(length: int, step: Fraction, where: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of the two samples around each new sample, and the second one's weight.

    Args:
        length: Number of samples.
        step: Distance of neighbouring new samples.
        where: New samples to return.
    """
    at = (np.arange(where.start, where.stop, dtype=np.float32) + np.float32(0.5)) * np.float32(step)
    at = np.maximum(at - np.float32(0.5), 0)
    before = np.minimum(at.astype(np.intp), length - 1)
    return before, np.minimum(before + 1, length - 1), at - before.astype(np.float32)
