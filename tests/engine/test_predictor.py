"""From an image to class indices."""

import cv2
import nnabla as nn
import numpy as np
import pytest

import helpers
import models
from command import UserError
from engine import context, predictor
from engine.protocols import Protocol


@pytest.fixture
def tiny():
    made = predictor.Predictor(helpers.tiny())
    helpers.randomize_parameters()
    return made


def test_normalisation_is_the_published_one():
    """(x - mean) / std of RGB, with mean and std rounded to float32; computed here in float64."""
    info = models.create('d3net_s').info
    image = helpers.image(7, 9)
    x = predictor.normalise(image, info)
    assert (x.shape, x.dtype) == ((3, 7, 9), np.float32)
    mean, std = (np.float64(np.float32(v)).reshape(3, 1, 1) for v in (info.mean, info.std))
    expected = (image[..., ::-1].transpose(2, 0, 1) - mean) * (1 / std)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('height, width', [(64, 64), (33, 57), (5, 5), (1, 1), (1, 80), (3, 1)])
def test_any_size_comes_back_at_its_size(tiny, height, width):
    image = helpers.image(height, width)
    labels = tiny.labels(image)
    assert (labels.shape, labels.dtype) == ((height, width), np.uint8)
    logits = tiny.logits(image)
    assert logits.shape == (5, height, width)
    assert np.array_equal(labels, logits.argmax(0))


def test_logits_are_those_of_the_graph_resized_as_opencv_does(tiny):
    image = helpers.image(33, 57)
    x = predictor.normalise(image, tiny.network.info)[None]
    lowres = tiny.network(nn.Variable.from_numpy_array(x))[0]
    lowres.forward()
    expected = cv2.resize(lowres.d[0].transpose(1, 2, 0), (57, 33)).transpose(2, 0, 1)
    np.testing.assert_allclose(tiny.logits(image), expected, atol=1e-4)


@pytest.mark.parametrize('scale', [0.5, 0.37, 1.7, 16])
def test_scaled_images_come_back_at_their_size(tiny, scale):
    image, protocol = helpers.image(90, 121), Protocol(scales=(scale,))
    labels = tiny.labels(image, protocol)
    assert labels.shape == (90, 121)
    assert (labels == tiny.labels(image)).mean() > 0.2
    assert tiny.labels(helpers.image(1, 2), protocol).shape == (1, 2)


def test_graphs_are_kept_for_the_latest_sizes_only():
    built = []
    made = predictor.Predictor(helpers.tiny(), on_new_size=lambda: built.append(1))
    sizes = [(32, 32 + 4 * i) for i in range(predictor.GRAPHS)]
    for _ in range(3):
        for size in sizes:
            made.labels(helpers.image(*size))
    assert len(built) == predictor.GRAPHS
    made.labels(helpers.image(80, 80))
    made.labels(helpers.image(*sizes[1]))
    assert len(built) == 1 + predictor.GRAPHS
    made.labels(helpers.image(*sizes[0]))  # was the oldest
    assert len(built) == 2 + predictor.GRAPHS


def test_weights_loaded_later_reach_kept_graphs(tiny):
    image = helpers.image(40, 40)
    before = tiny.logits(image).copy()
    helpers.randomize_parameters(seed=1)
    assert not np.array_equal(before, tiny.logits(image))


def resident_mib():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def test_memory_stays_flat_over_mixed_sizes():
    """Ever larger images, none of which fits what the one before has left in NNabla's cache."""
    choice = context.use('cpu')

    def release():
        context.release_cached_memory(choice)

    made = predictor.Predictor(models.create('d3net_t'), release)
    sizes, most = [(96 + 8 * i, 128 + 6 * i) for i in range(25)], 0
    for size in sizes:
        made.labels(helpers.image(*size))
        most = max(most, resident_mib())
    release()
    fresh = predictor.Predictor(models.create('d3net_t'), release)
    fresh.labels(helpers.image(*sizes[-1]))
    assert most - resident_mib() < 60  # measured: 22, and 165 when nothing is released


def test_too_little_memory_names_the_remedy(tiny, monkeypatch):
    def no_memory(*args):
        raise RuntimeError('memory error in malloc\nFailed to allocate 10 GB')

    monkeypatch.setattr(tiny, '_graph', no_memory)
    with pytest.raises(UserError, match='not enough memory for 48x40 pixels; --scales 0.5'):
        tiny.labels(helpers.image(40, 48))
