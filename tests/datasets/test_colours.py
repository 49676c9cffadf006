"""Class maps in colour, alone and over their images."""

import numpy as np
import pytest

import datasets
from datasets import colours
from support import stand_ins

PALETTE = datasets.info('cityscapes').palette


@pytest.mark.parametrize('opacity', [0.5, 0.3, 1.0])
def test_the_overlay_is_the_published_blend(opacity):
    """It is image * (1 - opacity) + colour * opacity in float64, truncated to integers."""
    image, labels = stand_ins.image(6, 7), np.arange(42).reshape(6, 7) % 19
    picture = colours.overlay(image, labels.astype(np.uint8), PALETTE, opacity)
    for (row, column), label in np.ndenumerate(labels):
        for channel in range(3):
            value = image[row, column, channel] * (1 - opacity)
            value += PALETTE[label][2 - channel] * opacity
            assert picture[row, column, channel] == int(value)


def test_ignored_pixels_are_black_or_show_the_image_in_the_overlay():
    image, labels = stand_ins.image(2, 2), np.array([[0, 255], [255, 18]], np.uint8)
    assert colours.paint(labels, PALETTE)[..., ::-1].tolist() == [
        [[128, 64, 128], [0, 0, 0]],
        [[0, 0, 0], [119, 11, 32]],
    ]
    picture = colours.overlay(image, labels, PALETTE, 0.5)
    assert np.array_equal(picture[labels == 255], image[labels == 255])
    assert not np.array_equal(picture[0, 0], image[0, 0])
