"""Shares of classes, and the legend beside a picture."""

import numpy as np
import pytest

import datasets
from engine.inference import pictures


def test_shares_are_sorted_and_omit_absent_classes():
    labels = np.array([[3, 3, 3, 0], [3, 0, 1, 3]], np.uint8)
    found = pictures.class_shares(labels, datasets.info('camvid'))
    assert list(found.items()) == [('road', 0.625), ('sky', 0.25), ('building', 0.125)]


@pytest.mark.parametrize('height, classes', [(563, 11), (40, 19), (1080, 150), (1, 2)])
def test_the_legend_has_every_colour_and_the_height_of_the_picture(height, classes):
    info = datasets.DatasetInfo(
        'test', tuple(f'class {i}' for i in range(classes)), datasets.distinct_colours(classes)
    )
    panel = pictures.legend_panel(height, info)
    assert panel.shape[0] == height
    assert panel.dtype == np.uint8
    if height > 30:
        shown = {tuple(pixel) for pixel in panel.reshape(-1, 3)[:, ::-1].tolist()}
        assert set(info.palette) <= shown
    picture = pictures.attach_panel(np.zeros((height, 5, 3), np.uint8), panel)
    assert picture.shape == (height, 5 + panel.shape[1], 3)


@pytest.mark.parametrize('chosen', range(7))
def test_every_name_stands_beside_its_colour(chosen):
    """Only one class has a name; the square to the left of its text has its colour."""
    colours = datasets.distinct_colours(7)
    names = tuple('Name' if i == chosen else ' ' for i in range(7))
    panel = pictures.legend_panel(200, datasets.DatasetInfo('test', names, colours))[..., ::-1]
    squares = np.argwhere((panel == colours[chosen]).all(-1))
    beside = panel[:, squares[:, 1].max() + 3 :]
    ink = np.argwhere((beside < 100).all(-1))
    assert len(ink) > 10
    assert squares[:, 0].min() <= ink[:, 0].min()
    assert ink[:, 0].max() <= squares[:, 0].max()
