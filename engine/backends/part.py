"""The middle part of a large input, which stands for all of it where NNabla would take too long."""

import math

import numpy as np

from models import NetworkInfo

SIDE = 256  # smallest side of a part in pixels, unless the whole is smaller
STEP = 64  # a part's sides have the remainders of the whole's, so that strides round them alike
LARGE = 4  # an input is large if it has so many times the pixels of its part


def middle_part(x: np.ndarray, info: NetworkInfo) -> np.ndarray | None:
    """Return the middle part of an input; None if the input is not large.

    Args:
        x: (N, 3, H, W), of a size that the network accepts.
        info: Facts of the network; it accepts the part's size as well.
    """
    rows, columns = (_middle(side, info) for side in x.shape[2:])
    part = x[:, :, rows, columns]
    return np.ascontiguousarray(part) if x.size >= LARGE * part.size else None


def _middle(length: int, info: NetworkInfo) -> slice:
    least, step = max(SIDE, info.smallest_size), math.lcm(STEP, info.size_divisor)
    side = length if length < least + step else least + (length - least) % step
    start = (length - side) // 2
    return slice(start, start + side)
