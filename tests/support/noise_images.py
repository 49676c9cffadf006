"""Seeded images of noise with label maps of blocks, for tests of augmentations."""

import numpy as np


def label(height, width, seed=0):
    """Return a label map of blocks: class 0 covers about half of it, some blocks are ignored."""
    rng = np.random.RandomState(seed)
    blocks = rng.choice([0, 0, 0, 1, 2, 255], (-(-height // 16), -(-width // 16)))
    return blocks.repeat(16, 0).repeat(16, 1)[:height, :width].astype(np.uint8)


def pair(height, width, seed=0):
    """Return an image of noise, (H, W, 3) uint8, and a label map, (H, W) uint8."""
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return noise, label(height, width, seed)
