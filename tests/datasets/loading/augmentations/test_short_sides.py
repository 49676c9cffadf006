"""short_sides: the published sizes of images and batches, and averaging."""

import numpy as np

from datasets.loading import resample
from datasets.loading.augmentations import ShortSides
from datasets.loading.transforms import Batch
from support.noise_images import label, pair


def test_a_batch_fits_the_largest_of_its_images():
    """The published sizes: 600 for the shorter side, no side over 1000, rounded up to 8."""
    settings = ShortSides((600,), longest=1000, divisor=8)
    batch = settings.batch([(480, 640), (300, 900), (500, 500)], np.random.RandomState(0))
    # 480x640 -> 600x800; 300x900 -> 333x1000 because of its long side; 500x500 -> 600x600
    assert batch == Batch((600, 1000), 600)
    image, classes = pair(300, 900)
    view = settings.view(classes, np.random.RandomState(0), batch)
    assert view.size == (333, 1000)
    assert resample.resample_label(classes, view).shape == (333, 1000)
    lengths = {
        ShortSides((300, 375, 450)).batch([(500, 600)], np.random.RandomState(seed)).short
        for seed in range(30)
    }
    assert lengths == {300, 375, 450}


def test_images_that_shrink_are_averaged():
    """A fine chessboard becomes grey, as with Pillow in the original."""
    board = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    settings = ShortSides((100,), flip=0)
    batch = settings.batch([(400, 400)], np.random.RandomState(0))
    view = settings.view(label(400, 400), np.random.RandomState(0), batch)
    assert abs(resample.resample_image(board, view) - 127.5).max() < 40
