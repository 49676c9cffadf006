"""The steps that all transforms share: the published changes of colours and normalisation."""

import cv2
import numpy as np
import pytest

from benchmarks import loading_baseline
from datasets.loading import transforms
from support.noise_images import pair

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_distorted_colours_equal_those_of_the_published_steps():
    for seed in range(20):
        image, _ = pair(40, 50, seed)
        expected = loading_baseline.distorted(image, np.random.RandomState(seed))
        found = transforms.distort(image, np.random.RandomState(seed))
        assert np.array_equal(found, expected), seed


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_normalisation_equals_the_published_arithmetic(order):
    """Every bit equals OpenCV's subtraction and multiplication of every pixel."""
    image, _ = pair(33, 47)
    x = image.astype(np.float32)
    x = cv2.cvtColor(x, cv2.COLOR_BGR2RGB) if order == 'rgb' else x
    mean, std = np.float64(np.float32([MEAN])), np.float64(np.float32([STD]))
    expected = cv2.multiply(cv2.subtract(x, mean), 1 / std).transpose(2, 0, 1)
    assert np.array_equal(transforms.normalise(image, MEAN, STD, order), expected)
