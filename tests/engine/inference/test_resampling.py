"""Resized maps: bit for bit those of a whole grid, and views of any ratio as in float64."""

from fractions import Fraction

import cv2
import nnabla as nn
import numpy as np
import pytest

import models
from engine.backends.disk_cache import DiskCache
from engine.inference.predictor import Predictor
from engine.inference.resampling import resize_rows
from engine.inference.test_time import Protocol
from layers import functions as L
from models import Family, Network, NetworkInfo
from support import backend_runs, naive_segmentation, stand_ins


@pytest.mark.parametrize(
    'small, large',
    [((17, 24), (68, 96)), ((9, 15), (33, 57)), ((45, 60), (563, 751)), ((45, 60), (30, 50)),
     ((50, 50), (25, 25)), ((3, 4), (3, 9)), ((1, 1), (7, 5)), ((7, 5), (14, 5))],
)  # fmt: skip
def test_bands_of_rows_equal_the_resized_whole(small, large):
    """Equal to NNabla's resized maps to the last bit, also without padding; close to OpenCV's."""
    maps = np.random.RandomState(0).randn(4, *small).astype(np.float32)
    whole = L.resize(nn.Variable.from_numpy_array(maps[None]), large)
    whole.forward()
    height, width = large
    for step in (1, 2, 5, height):
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            for size in (large, (height, max(1, width - 3))):
                part = resize_rows(maps, size, rows, tuple(map(Fraction, size, large)))
                assert np.array_equal(part, whole.d[0, :, rows, : size[1]])
    full = resize_rows(maps, large, slice(0, height))
    opencv = np.stack([cv2.resize(each, large[::-1]) for each in maps])
    np.testing.assert_allclose(full, opencv, atol=2e-4)


def test_one_row_from_four_is_their_middle():
    maps = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    assert resize_rows(maps, (1, 1), slice(0, 1)).tolist() == [[[1.5]]]


def test_maps_of_one_value_per_pixel_are_copied():
    maps = np.random.RandomState(0).randn(4, 6, 9).astype(np.float32)
    part = resize_rows(maps, (5, 7), slice(1, 4), (Fraction(5, 6), Fraction(7, 9)))
    assert np.array_equal(part, maps[:, 1:4, :7])


def test_a_ramp_stays_where_it_is():
    """A map holds the position of its own pixels: that of every pixel of the image is known."""
    for length, full, seen, new in [(12, 96, 92, 123), (4, 32, 31, 61), (33, 33, 17, 500)]:
        ramp = (np.arange(length, dtype=np.float32) + 0.5) * full / length  # in pixels of the view
        maps = np.tile(ramp[None, :, None], (1, 1, 5))
        found = resize_rows(maps, (new, 5), slice(0, new), (Fraction(seen, full), Fraction(1)))
        expected = (np.arange(new) + 0.5) * seen / new
        np.testing.assert_allclose(
            found[0, :, 2], np.clip(expected, ramp[0], ramp[-1]), rtol=0, atol=1e-4
        )


PROTOCOLS = [
    *(Protocol(scales=(scale,)) for scale in (0.5, 0.75, 1.25, 1.5, 2.0)),
    Protocol(size=(50, 71)),
    Protocol(short_sides=(30, 50), flip=True),
    Protocol(scales=(0.5, 1.25), flip=True),
    Protocol(window=(48, 31), scales=(1.5,), flip=True),
]


def strided(x, build, *, num_classes):
    """Build a network of two convolutions, whose maps are a quarter of the image's size."""
    x = L.bn_relu(L.convolution(x, 8, 3, 'a', build, stride=2), 'a', build)
    return [L.convolution(x, num_classes, 3, 'b', build, stride=2)]


def with_divisor(divisor):
    """Return a network that accepts multiples of ``divisor`` pixels from 10 pixels on."""
    info = NetworkInfo(num_classes=5, size_divisor=divisor, smallest_size=10, paper='none')
    family = Family(name='strided', graph=strided, variants={}, info=lambda hyper: info)
    return Network('strided', family, {'num_classes': 5}, info)


@pytest.mark.parametrize('divisor', [4, 32])
@pytest.mark.parametrize('size', [(61, 83), (90, 121), (7, 40)])
def test_padded_and_resized_views_equal_the_naive_ones_in_float64(divisor, size):
    image, predictor = stand_ins.image(*size), Predictor(with_divisor(divisor))
    stand_ins.randomize_parameters()
    for protocol in (Protocol(), *PROTOCOLS):
        expected = naive_segmentation.probabilities(predictor.network, image, protocol)
        found = predictor.probabilities(image, protocol)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, err_msg=str(protocol))
        assert np.array_equal(predictor.labels(image, protocol), expected.argmax(axis=0))


@pytest.mark.parametrize('name', backend_runs.EXPORTS)
def test_every_backend_resamples_with_the_true_ratio(name, tmp_path):
    made = backend_runs.predictor_with(name, with_divisor(32), DiskCache(tmp_path))
    stand_ins.randomize_parameters()
    image = stand_ins.image(61, 83)
    for protocol in (Protocol(scales=(0.75,)), Protocol(scales=(1.25, 1.5), flip=True)):
        expected = naive_segmentation.probabilities(made.network, image, protocol)
        found = made.probabilities(image, protocol)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        assert np.mean(made.labels(image, protocol) == expected.argmax(axis=0)) > 0.9995
    assert made.backend.used == {name}


@pytest.mark.parametrize('divisor', [4, 32])
def test_predictors_that_stay_on_the_device_resample_with_the_true_ratio(divisor):
    """Whole images in the device's graph, other views with its maps; the CPU takes its place."""
    predictor, image = Predictor(with_divisor(divisor)), stand_ins.image(67, 91)
    stand_ins.randomize_parameters()
    predictor.stay_on_device()
    assert predictor.on_device.takes((67, 91))
    for protocol in (Protocol(), Protocol(scales=(0.75,)), Protocol(size=(50, 71), flip=True)):
        expected = naive_segmentation.probabilities(predictor.network, image, protocol)
        assert np.array_equal(predictor.labels(image, protocol), expected.argmax(axis=0))


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', models.names())
def test_every_network_resamples_with_the_true_ratio(name):
    hyper = stand_ins.TINY if name == 'd3net' else {}
    with stand_ins.zero_parameters():
        predictor = Predictor(models.create(name, **hyper))
    stand_ins.randomize_parameters()
    image, protocol = stand_ins.image(67, 91), Protocol(scales=(0.75, 1.25))
    expected = naive_segmentation.probabilities(predictor.network, image, protocol)
    found = predictor.probabilities(image, protocol)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
