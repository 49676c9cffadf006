"""resize_crop: the sizes, windows and rotations of the original, with the same draws."""

import cv2
import numpy as np
import pytest

from datasets.loading import resample
from datasets.loading.augmentations import ResizeCrop
from datasets.loading.transforms import Batch
from support.noise_images import label, pair


def test_draws_cover_the_range_of_the_original():
    """Half the images have the given size, the others are larger; crops lie inside."""
    settings = ResizeCrop((20, 40), (30, 60), flip=0.5)
    drawn = [
        settings.view(label(50, 90), np.random.RandomState(seed), Batch(settings.size))
        for seed in range(400)
    ]
    sizes = np.array([view.size for view in drawn])
    assert 0.4 < (sizes == (30, 60)).all(1).mean() < 0.6
    assert sizes.min(0).tolist() == [30, 60]
    assert (sizes.max(0) <= (60, 120)).all()
    assert (sizes.max(0) > (55, 110)).all()
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    for view in drawn:
        assert (view.height, view.width) == (20, 40)
        assert 0 <= view.top <= view.size[0] - 20
        assert 0 <= view.left <= view.size[1] - 40


@pytest.mark.parametrize('interpolation', ['area', 'linear'])
def test_the_window_equals_two_crops_with_a_flip_between(interpolation):
    """The original's steps one by one, with the same draws."""
    settings = ResizeCrop((20, 40), (30, 60), interpolation=interpolation)
    for seed in range(20):
        image, classes = pair(50, 90, seed)
        rng = np.random.RandomState(seed)
        size = (30, 60)
        if rng.random_sample() < 0.5:
            size = round(rng.uniform(1, 2) * 30), round(rng.uniform(1, 2) * 60)
        top, left = rng.randint(size[0] - 29), rng.randint(size[1] - 59)
        area = interpolation == 'area' and (size[0] < 50 or size[1] < 90)
        expected = cv2.resize(
            image, size[::-1], interpolation=cv2.INTER_AREA if area else cv2.INTER_LINEAR
        )[top : top + 30, left : left + 60]
        if rng.random_sample() < 0.5:
            expected = expected[:, ::-1]
        left, top = rng.randint(60 - 40 + 1), rng.randint(30 - 20 + 1)
        expected = expected[top : top + 20, left : left + 40].astype(int)
        view = settings.view(classes, np.random.RandomState(seed), Batch(settings.size))
        assert abs(resample.resample_image(image, view) - expected).max() <= 1, seed


def test_half_the_images_are_rotated_first():
    """The original's matrix and draws; pixels from outside the image are ignored."""
    settings = ResizeCrop((30, 60), (30, 60), (1, 1), rotation=30, flip=0)
    for seed in range(20):
        image, classes = pair(90, 70, seed)
        rng = np.random.RandomState(seed)
        angle, rotated = rng.uniform(-30, 30), rng.random_sample() < 0.5
        matrix = cv2.getRotationMatrix2D((35, 45), angle if rotated else 0, 1)
        expected = cv2.warpAffine(
            image.astype(np.float32) - 128, matrix, (70, 90), flags=cv2.INTER_LINEAR
        )
        expected = cv2.resize(expected, (60, 30), interpolation=cv2.INTER_AREA) + 128
        inside = cv2.warpAffine(classes * 0 + 1, matrix, (70, 90), flags=cv2.INTER_NEAREST)
        truth = cv2.warpAffine(classes, matrix, (70, 90), flags=cv2.INTER_NEAREST)
        truth = np.where(inside, truth, 255)  # the original has class 0 outside the image
        truth = cv2.resize(truth, (60, 30), interpolation=cv2.INTER_NEAREST)
        view = settings.view(classes, np.random.RandomState(seed), Batch(settings.size))
        assert abs(resample.resample_image(image, view) - expected).max() <= 2, seed
        assert np.array_equal(resample.resample_label(classes, view), truth), seed
        assert (inside == 0).any() == rotated
