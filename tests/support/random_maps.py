"""Make seeded class maps to score."""

import numpy as np

from datasets import IGNORE


def random_maps(num_classes, seed=0, shape=(37, 41), ignored=0.1):
    """Return two class maps that agree in half of the pixels; the first has ignored pixels."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, num_classes, shape).astype(np.uint8)
    guesses = rng.randint(0, num_classes, shape).astype(np.uint8)
    predictions = np.where(rng.rand(*shape) < 0.5, labels, guesses).astype(np.uint8)
    labels[rng.rand(*shape) < ignored] = IGNORE
    return labels, predictions
