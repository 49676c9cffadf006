"""The result of one image: confidence, probabilities, shares and the picture."""

import numpy as np
import pytest

import datasets
from common.errors import UserError
from datasets import colours
from engine.inference import predictor, scores
from engine.inference.segmentation import Segmentation
from engine.inference.test_time import Protocol
from support import naive_segmentation, segmentations, stand_ins

CAMVID = datasets.info('camvid')
VIEWS = [
    Protocol(),
    Protocol(scales=(0.5, 1.5), flip=True),
    Protocol(window=(24, 24), flip=True),
]


@pytest.fixture
def image():
    return stand_ins.image(40, 57)


@pytest.mark.parametrize('protocol', VIEWS, ids=['whole', 'scales', 'windows'])
def test_scores_are_those_of_a_plain_computation(tiny, image, protocol, monkeypatch):
    expected = naive_segmentation.probabilities(tiny.network, image, protocol)
    monkeypatch.setattr(scores, 'BAND_VALUES', 1000)  # bands of a few rows
    found = tiny.scores(image, protocol)
    np.testing.assert_allclose(found.probabilities(), expected, atol=1e-5)
    np.testing.assert_allclose(found.confidence(), expected.max(axis=0), atol=1e-5)
    assert found.confidence().dtype == found.probabilities().dtype == np.float32
    assert np.array_equal(found.labels(), tiny.labels(image, protocol))
    chosen = np.take_along_axis(found.probabilities(), found.labels()[None].astype(int), 0)[0]
    assert np.array_equal(found.confidence(), chosen)


def test_the_network_runs_again_only_for_dropped_scores(tiny, image):
    computed = []

    def compute():
        computed.append(tiny.scores(image))
        return computed[-1]

    labels, known = tiny.labels_and_scores(image)
    result = Segmentation(image, labels, CAMVID, compute, known)
    confidence = result.confidence
    probabilities = result.probabilities
    assert result.confidence is confidence
    assert not computed
    result.drop_scores()
    assert np.array_equal(result.probabilities, probabilities)
    assert np.array_equal(result.probabilities, probabilities)
    assert len(computed) == 1


def test_a_graph_on_the_device_returns_labels_only(image):
    made = predictor.Predictor(stand_ins.tiny())
    stand_ins.randomize_parameters()
    large = np.tile(image, (3, 3, 1))
    expected, known = made.labels_and_scores(large)
    assert known is not None
    made.stay_on_device()
    labels, unknown = made.labels_and_scores(large)
    assert unknown is None
    assert np.array_equal(labels, expected)
    result = segmentations.of_labels(labels, large, lambda: made.scores(large))
    assert np.array_equal(result.confidence, known.confidence())


def test_shares_classes_and_palette_are_those_of_the_data_set(image):
    labels = np.zeros((4, 5), np.uint8)
    labels[0] = 3
    result = segmentations.of_labels(labels, image[:4, :5])
    assert list(result.shares.items()) == [('sky', 0.75), ('road', 0.25)]
    assert (result.classes, result.palette) == (CAMVID.classes, CAMVID.palette)
    assert repr(result) == '<Segmentation of 5x4 pixels: sky 75.0%, road 25.0%>'


def test_the_overlay_is_the_picture_of_infer(image):
    labels = (np.arange(image[..., 0].size).reshape(image.shape[:2]) % 11).astype(np.uint8)
    result = segmentations.of_labels(labels, image)
    expected = colours.overlay(image, labels, CAMVID.palette, 0.3)
    assert np.array_equal(result.overlay(opacity=0.3), expected)
    wider = result.overlay(opacity=0.3, legend=True)
    assert np.array_equal(wider[:, : image.shape[1]], expected)
    assert wider.shape[1] > image.shape[1]
    assert np.array_equal(result.image, image)
    with pytest.raises(UserError, match='opacity must be above 0 and at most 1, not 2'):
        result.overlay(opacity=2)
