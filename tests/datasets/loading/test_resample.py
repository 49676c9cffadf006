"""Resampling: windows equal those of the whole resized image, and only their pixels are read."""

import cv2
import numpy as np

from datasets.loading import resample, transforms
from datasets.loading.augmentations import ResizeCrop, ScaleCrop, ShortSides
from datasets.loading.transforms import Batch
from support.noise_images import pair


def test_windows_at_all_positions_equal_resizing_the_whole_image():
    """At the ends of the resampled part, its neighbours in the source count as well."""
    image, classes = pair(90, 120)
    rng = np.random.RandomState(0)
    for _ in range(600):
        size = tuple(
            rng.choice([length, length // 2, length + rng.randint(-3, 4), rng.randint(30, 300)])
            for length in (90, 120)
        )
        height, width = rng.randint(1, size[0] + 1), rng.randint(1, size[1] + 1)
        top = rng.choice([0, size[0] - height, rng.randint(size[0] - height + 1)])
        left = rng.choice([0, size[1] - width, rng.randint(size[1] - width + 1)])
        view = resample.View(size, top, left, height, width, flip=bool(rng.randint(2)))
        rows, columns = slice(top, top + height), slice(left, left + width)
        mirror = slice(None, None, -1 if view.flip else 1)
        whole = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)[rows, columns]
        difference = resample.resample_image(image, view) - whole[:, mirror].astype(int)
        assert abs(difference).max() <= 1, view
        whole = cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST)[rows, columns]
        assert np.array_equal(resample.resample_label(classes, view), whole[:, mirror]), view


def test_pixels_far_from_the_window_are_not_read():
    """This makes crops of packed data fast."""
    image, _ = pair(400, 400)
    view = resample.View((800, 800), 300, 300, 100, 100)
    before = resample.resample_image(image, view)
    image[:145] = image[205:] = image[:, :145] = image[:, 205:] = 0
    assert np.array_equal(resample.resample_image(image, view), before)


def test_images_and_labels_may_be_read_only():
    """Packed data sets yield read-only views of files."""
    image, classes = pair(60, 80)
    image.flags.writeable = classes.flags.writeable = False
    for settings in (ScaleCrop((32, 32)), ResizeCrop((20, 20), (40, 40)), ShortSides((30,))):
        batch = Batch((32, 64), 30)
        view = settings.view(classes, np.random.RandomState(1), batch)
        window = resample.resample_image(image, view)
        assert transforms.distort(window, np.random.RandomState(2)).shape == window.shape
        assert resample.resample_label(classes, view).shape == window.shape[:2]
