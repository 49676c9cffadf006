"""Seeded images of noise with label maps of blocks, for tests of augmentations."""

import numpy as np


def label(height, width, seed=0):
    """Return blocks of a few classes, one of which covers half, with some pixels ignored."""
    rng = np.random.RandomState(seed)
    blocks = rng.choice([0, 0, 0, 1, 2, 255], (-(-height // 16), -(-width // 16)))
    return blocks.repeat(16, 0).repeat(16, 1)[:height, :width].astype(np.uint8)


def pair(height, width, seed=0):
    """Return an image of noise and a label map."""
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return noise, label(height, width, seed)
