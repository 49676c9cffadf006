"""Find NaN and infinity in arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def non_finite(array: NDArray[Any]) -> str | None:
    """Return ``NaN`` or ``infinity`` if an array has such a value, else None."""
    if array.dtype.kind != 'f' or np.isfinite(array).all():
        return None
    return 'NaN' if np.isnan(array).any() else 'infinity'
