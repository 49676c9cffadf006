"""Pictures of results: what the panels show, their names, the legend, the bounded size."""

import cv2
import numpy as np
import pytest

import datasets
from engine.evaluation import panels
from engine.evaluation.evaluator import ImageResult
from engine.inference import pictures
from support import stand_ins

INFO = datasets.DatasetInfo(
    'test', ('sky', 'road', 'tree'), ((9, 9, 200), (90, 20, 90), (0, 99, 0))
)
BGR = np.array(INFO.palette, np.uint8)[:, ::-1]
RED, GREY = (0, 0, 220), (200, 200, 200)  # BGR


def result(height, width, labelled=True):
    """Return a result: above sky, below road, a quarter ignored, half of the rest wrong."""
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = 1
    predictions = labels.copy()
    predictions[:, : width // 2] = 1 - labels[:, : width // 2]
    labels[height // 2 :, : width // 2] = 255
    image = stand_ins.image(height, width)
    return ImageResult(0, image, labels if labelled else None, predictions, None)


def test_the_panels_of_an_image():
    one = result(60, 80)
    image, truth, prediction, errors = panels.show(INFO, one, 100).panels
    assert np.array_equal(image.pixels, one.image)
    colours = np.vstack((BGR, np.zeros((253, 3), np.uint8)))
    assert np.array_equal(truth.pixels, colours[one.labels])
    assert np.array_equal(prediction.pixels, colours[one.predictions])
    expected = np.full((60, 80, 3), GREY)
    expected[:30, :40] = RED
    expected[30:, :40] = 0
    assert np.array_equal(errors.pixels, expected)
    names = [panel.name for panel in (image, truth, prediction, errors)]
    assert names == ['image', 'truth', 'prediction', 'errors: 33.3%']


def test_a_large_image_is_shown_smaller_and_its_errors_stay_visible():
    one = result(750, 2000)
    one.predictions[702, 1952] = 0
    shown = panels.show(INFO, one, 400).panels
    assert {panel.pixels.shape for panel in shown} == {(150, 400, 3)}
    image, truth, _, errors = (panel.pixels for panel in shown)
    assert np.array_equal(image, cv2.resize(one.image, (400, 150), interpolation=cv2.INTER_AREA))
    colours = {tuple(c) for c in np.unique(truth.reshape(-1, 3), axis=0).tolist()}
    assert colours == {tuple(c) for c in BGR[:2].tolist()} | {(0, 0, 0)}
    blue, green, red = errors[140, 390].astype(int)
    assert (blue, green) == (blue, blue)
    assert red > blue, 'one wrong pixel of 25'
    assert max(panels.picture(INFO, one).shape) < 2 * 800 + 300


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (3, 5000), (5000, 3)])
def test_odd_sizes_are_drawn(height, width):
    picture = panels.picture(INFO, result(height, width))
    assert picture.dtype == np.uint8
    assert max(picture.shape) < 2 * 800 + 300


def test_the_legend_names_what_the_picture_shows(monkeypatch):
    drawn = []

    def legend(height, entries, tallest):
        drawn.append(dict(entries))
        return np.zeros((height, 1, 3), np.uint8)

    monkeypatch.setattr(panels, 'legend', legend)
    panels.picture(INFO, result(40, 40))
    assert list(drawn[0]) == ['sky', 'road', 'right', 'wrong', 'ignored']
    assert drawn[0]['road'] == INFO.palette[1]
    assert drawn[0]['wrong'] == RED[::-1]
    panels.picture(INFO, result(40, 40, labelled=False))
    assert list(drawn[1]) == ['sky', 'road']


def test_line_breaks_in_names_are_escapes():
    """Drawn as such, they would reach into the lines beside."""
    assert np.array_equal(panels.caption('a\nb', 90), panels.caption('a\\nb', 90))
    drawn, expected = (pictures.legend(60, [(name, (9, 9, 9))]) for name in ('a\nb', 'a\\nb'))
    assert np.array_equal(drawn, expected)


def test_without_labels_there_are_image_and_prediction():
    shown = panels.show(INFO, result(40, 60, labelled=False), 100).panels
    assert [panel.name for panel in shown] == ['image', 'prediction']


def test_names_stand_above_their_panels():
    picture = panels.picture(INFO, result(60, 200))
    assert np.array_equal(
        picture[panels.CAPTION_HEIGHT :][:60, panels.GAP :][:, :200], result(60, 200).image
    )
    assert (picture[: panels.CAPTION_HEIGHT, panels.GAP : 60] < 100).any(), 'ink'
