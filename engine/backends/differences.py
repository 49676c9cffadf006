"""Compare logits that may have NaN or infinity."""

import numpy as np


def absolute_difference(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return ``|expected - found|``; 0 where both are NaN or the same infinity.

    Weights that are not finite, which ``--allow-non-finite`` accepts, make such logits.
    """
    same = (expected == found) | np.isnan(expected) & np.isnan(found)
    with np.errstate(invalid='ignore'):  # infinity minus infinity, where they are the same
        return np.where(same, np.float32(0), np.abs(expected - found))


def largest_magnitude(logits: np.ndarray) -> float:
    """Return the largest absolute value of those that are finite; 0 if none is."""
    return float(np.abs(logits[np.isfinite(logits)]).max(initial=0))
