"""Check the values of class maps, and convert them for networks."""

from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets.info import IGNORE


def check_range(labels: np.ndarray, num_classes: int, path: Path | None):
    """Raise ``InputError`` unless all values are classes or 255.

    NNabla reads out of bounds for any other value.

    Args:
        labels: (H, W) uint8, class indices; 255 for ignored pixels.
        num_classes: Number of classes.
        path: The label file, for the message.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    wrong = np.flatnonzero(counts[num_classes:IGNORE]) + num_classes
    if wrong.size:
        raise InputError(
            f'{path}: holds the values {", ".join(map(str, wrong[:5]))}, but there are '
            f'{num_classes} classes, 0 to {num_classes - 1}, and 255 for ignored pixels; '
            'is it a label file of this data set?'
        )


def to_network(labels: np.ndarray, num_classes: int, path: Path | None) -> np.ndarray:
    """Return class indices for NNabla's losses: int32, -1 for ignored pixels.

    This is the only way from a label map to a network.

    Args:
        labels: (H, W) uint8, class indices; 255 for ignored pixels.
        num_classes: Number of classes.
        path: The label file, for the message.

    Raises:
        InputError: A value is neither a class nor 255.
    """
    check_range(labels, num_classes, path)
    return np.where(labels == IGNORE, -1, labels.astype(np.int32))
