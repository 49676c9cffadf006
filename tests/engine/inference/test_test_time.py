"""Inference protocols: sizes of views, averaged probabilities, windows, options and config."""

import numpy as np
import pytest

from common.command import Parser, add_options, settings
from common.errors import UserError
from engine import config
from engine.inference import ProtocolSettings, test_time
from engine.inference.test_time import Protocol, ProtocolKeys
from support import stand_ins


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(0))
    return powers / powers.sum(0)


def assert_close(found, expected, tolerance=1e-5):
    # pytest.approx compares element by element and takes long.
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, equal_nan=False)


def chosen(*arguments, overrides=()):
    parser = Parser()
    add_options(parser, ProtocolSettings)
    loaded = config.load('configs/D3Net_S.yaml', overrides)
    given = settings(ProtocolSettings, parser.parse_args(arguments))
    return test_time.choose_protocol(given, ProtocolKeys.of(loaded))


def test_one_view_needs_no_probabilities(tiny):
    image = stand_ins.image(40, 56)
    expected = softmax(tiny.logits(image))
    assert_close(tiny.probabilities(image, Protocol()), expected)
    assert np.array_equal(tiny.labels(image), expected.argmax(0))


def test_scales_and_mirrored_views_are_averaged_as_probabilities(tiny):
    image = stand_ins.image(40, 56)
    mirror = image[:, ::-1].copy()
    views = []
    for size in ((20, 28), (40, 56), (60, 84)):
        views.append(softmax(tiny.logits(image, size)))
        views.append(softmax(tiny.logits(mirror, size))[..., ::-1])
    protocol = Protocol(scales=(0.5, 1, 1.5), flip=True)
    found = tiny.probabilities(image, protocol)
    assert_close(found, np.mean(views, 0))
    assert_close(found.sum(0), np.ones((40, 56)))
    assert np.array_equal(tiny.labels(image, protocol), found.argmax(0))


@pytest.mark.parametrize(
    'words',
    [
        {'scales': 0.5}, {'scales': ()}, {'scales': (0.0,)}, {'scales': (-1.0,)},
        {'scales': (float('nan'),)}, {'scales': '12'}, {'size': 512}, {'size': (512,)},
        {'size': (0, 512)}, {'size': (1.5, 512)}, {'window': (64, 64, 3)}, {'window': (0, 0)},
        {'window': (64, 64), 'stride': (0, 0)}, {'short_sides': 300}, {'short_sides': (0.5,)},
    ],
)  # fmt: skip
def test_views_without_a_size_are_refused(words):
    with pytest.raises(UserError, match=f'{list(words)[-1]}: .* such as '):
        Protocol(**words)


def test_a_fixed_size_replaces_that_of_the_image(tiny):
    image = stand_ins.image(40, 56)
    protocol = Protocol(size=(32, 64))
    expected = tiny.logits(image, (32, 64)).argmax(0)
    assert np.array_equal(tiny.labels(image, protocol), expected)
    assert Protocol(size=(32, 64), scales=(0.5, 2)).views(9, 9) == [(16, 32), (64, 128)]


def test_short_sides_give_the_sizes_of_csail():
    """Scale min(short / min side, max_size / max side); both sides rounded up to multiples of 8."""
    protocol = Protocol(short_sides=(300, 600), max_size=1000)
    assert protocol.views(512, 683) == [(304, 400), (600, 800)]
    assert protocol.views(300, 1500) == [(200, 1000), (200, 1000)]
    assert protocol.views(480, 640) == [(304, 400), (600, 800)]


@pytest.mark.parametrize('size', [(40, 56), (32, 32), (33, 90), (20, 100), (20, 20)])
@pytest.mark.parametrize('stride', [None, (10, 32), (32, 32)])
def test_windows_cover_every_pixel_and_stay_inside(size, stride):
    covered = np.zeros(size, int)
    for rows, columns in Protocol(window=(32, 32), stride=stride).windows(*size):
        assert rows.start >= 0
        assert rows.stop <= size[0]
        assert columns.stop <= size[1]
        lengths = rows.stop - rows.start, columns.stop - columns.start
        assert lengths == tuple(min(32, side) for side in size)
        covered[rows, columns] += 1
    assert covered.min() >= 1
    if size == (32, 32):
        assert covered.max() == 1


def test_weights_of_windows_fall_linearly_towards_their_edges(tiny):
    image = stand_ins.image(32, 48)
    left = softmax(tiny.logits(image[:, :32].copy()))
    right = softmax(tiny.logits(image[:, 16:].copy()))
    found = tiny.probabilities(image, Protocol(window=(32, 32), stride=(32, 16)))
    assert_close(found[..., :16], left[..., :16])
    assert_close(found[..., 32:], right[..., 16:])
    for column in range(16, 32):
        share = (32 - column) / ((32 - column) + (column - 15))
        expected = share * left[..., column] + (1 - share) * right[..., column - 16]
        assert_close(found[..., column], expected)


def test_an_image_smaller_than_the_window_is_one_window(tiny):
    image = stand_ins.image(20, 24)
    whole = tiny.probabilities(image, Protocol())
    assert_close(tiny.probabilities(image, Protocol(window=(5000, 48))), whole)


def test_windows_of_scaled_views_give_the_size_of_the_image(tiny):
    image = stand_ins.image(40, 56)
    protocol = Protocol(scales=(0.75, 1.5), flip=True, window=(32, 32))
    found = tiny.probabilities(image, protocol)
    assert found.shape == (5, 40, 56)
    assert_close(found.sum(0), np.ones((40, 56)), 1e-4)


def test_options_replace_keys_of_the_config():
    keys = ['test_scales=[0.5, 1]', 'test_flip=true', 'test_window=[64, 128]']
    assert chosen() == Protocol()
    assert test_time.configured_protocol({'test_flip': True, 'lr': 1}) == Protocol(flip=True)
    assert chosen(overrides=keys) == Protocol(scales=(0.5, 1), flip=True, window=(64, 128))
    assert chosen('--scales', '2,1', overrides=keys).scales == (2, 1)
    assert chosen('--scale', '0.25').scales == (0.25,)
    sides = chosen('--short-sides', '300,450', '--max-size', '700', overrides=keys)
    assert (sides.short_sides, sides.max_size, sides.scales) == ((300, 450), 700, (1.0,))
    short = ['test_short_sides=[300]', 'test_max_size=700', 'size_multiple=32']
    assert chosen(overrides=short).views(512, 683) == [(320, 416)]
    assert chosen('--max-size', '300', overrides=short).max_size == 300
    assert chosen('--max-size', '300', overrides=short).short_sides == (300,)
    assert chosen('--short-sides', '450', overrides=short).max_size == 700
    assert chosen('--scales', '2', overrides=short).views(10, 20) == [(20, 40)]
    assert chosen('--scales', '2', overrides=short).describe() == {'scales': (2.0,)}
    slide = ['test_window=[360, 360]', 'test_stride=[300, 300]']
    assert chosen('--slide', '200x200', overrides=slide) == Protocol(window=(200, 200))
    assert chosen('--slide', '512x1024', '--stride', '256x512').stride == (256, 512)
    assert chosen('--size', '384x768').describe() == {'size': (384, 768)}


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--size', '512'], 'write it as HEIGHTxWIDTH'),
        (['--size', '0x5'], 'write it as HEIGHTxWIDTH'),
        (['--scales', '1,,2'], 'write numbers above 0'),
        (['--scales', 'nan'], 'write numbers above 0'),
        (['--scales', '17'], 'up to 16'),
        (['--short-sides', '1.5'], 'write numbers above 0'),
        (['--max-size', '500'], '--max-size belongs to --short-sides'),
        (['--short-sides', '9', '--max-size', '0'], 'write one whole number, from 1'),
        (['--short-sides', '9', '--max-size', '9,8'], 'write one whole number, from 1'),
        (['--stride', '3x3'], r'--stride .test_stride. belongs to --slide'),
        (['--slide', '8x8', '--stride', '8x9'], 'some pixels would be skipped'),
        (['--size', '8x8', '--short-sides', '8'], 'use one of them'),
    ],
)
def test_invalid_options_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        chosen(*arguments)
