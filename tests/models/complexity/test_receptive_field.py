"""Receptive fields, against the pixels that have a gradient."""

from functools import partial

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from layers import functions as L
from models.complexity.receptive_field import fields, pools_globally, receptive_field
from support import stand_ins

BUILD = L.Build()
ROUNDED = 1e-5  # what rounding makes of a bilinear weight that is 0
WHOLE = ('gate', 'tiles of one size')  # every pixel's field reaches beyond the image


def convolution(x, name='a', **options):
    return L.convolution(x, 4, 3, name, BUILD, **options)


def strided(x):
    x = L.bn_relu(convolution(x, stride=2), 'a', BUILD)
    return convolution(x, 'b', stride=2, dilation=3)


def depthwise(x):
    return convolution(convolution(x), 'b', groups=4, dilation=2)


def two_paths(x):
    return convolution(x, dilation=4) + convolution(convolution(x, 'b'), 'c')


def resized(x, how, factor):
    small = L.average_pool(convolution(x), 4, BUILD)
    size = [int(length * factor) for length in L.size_of(small, BUILD)]
    return convolution(L.resize(small, size, BUILD, how), 'b')


def tiles(x, bins):
    return convolution(L.adaptive_average_pool(x, bins, BUILD))


def patches(x):
    return convolution(L.space_to_depth(convolution(x), 4, BUILD), 'b')


def gate(x):
    x = convolution(x)
    return x * L.sigmoid(convolution(L.global_average_pool(x, BUILD), 'b'))


def sliced(x):
    return convolution(L.slice_channels(L.swish(convolution(x), BUILD), 1, 3, BUILD), 'b')


def pooled(x):
    return L.average_pool(convolution(x), 5, BUILD, stride=2, pad=2)


GRAPHS = {
    'strided': strided,
    'depthwise': depthwise,
    'two paths': two_paths,
    'bilinear, up': partial(resized, how='bilinear', factor=2),
    'bilinear, odd': partial(resized, how='bilinear', factor=3),
    'bilinear, uneven': partial(resized, how='bilinear', factor=1.7),
    'bilinear, down': partial(resized, how='bilinear', factor=0.5),
    'bilinear, corners': partial(resized, how='bilinear_corners', factor=2),
    'nearest, up': partial(resized, how='nearest', factor=2),
    'nearest, uneven': partial(resized, how='nearest', factor=1.7),
    'tiles': partial(tiles, bins=3),
    'tiles of one size': partial(tiles, bins=2),
    'patches': patches,
    'gate': gate,
    'sliced': sliced,
    'pooled': pooled,
}


def empirical(x, y, axis, nothing):
    """First and last row of ``x`` with a gradient, for each row of ``y``; or columns.

    nothing: what counts as none, as a share of the largest.
    """
    others = tuple(a for a in range(4) if a != axis)
    y.forward()
    found = []
    for i in range(y.shape[axis]):
        chosen = np.zeros(y.shape, np.float32)
        chosen[(slice(None),) * axis + (i,)] = 1
        x.grad.zero()
        y.backward(nn.NdArray.from_numpy_array(chosen))
        gradient = x.g.sum(axis=others, dtype=np.float64)
        rows = np.flatnonzero(gradient > nothing * gradient.max())
        found.append((rows[0], rows[-1]))
    return np.transpose(found)


def positive_parameters():
    """Nothing cancels, no ReLU is closed, and sums stay near 1: a path is a gradient."""
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if name.endswith('/W'):
            parameter.d = 1 / np.prod(parameter.shape[1:])
        else:
            parameter.d = 1 if name.endswith(('gamma', 'var')) else 0


def check(x, y, nothing=ROUNDED, whole=False):
    """Equal where the field lies in the image, and no more where a part of it is padding; with
    ``whole`` every field reaches beyond the image.
    """
    x.d = 1
    positive_parameters()
    for axis, (first, last) in zip((2, 3), fields(y, x)):
        length, found = x.shape[axis], empirical(x, y, axis, nothing)
        if whole:
            first, last = np.maximum(first, 0), np.minimum(last, length - 1)
        inside = (first >= 0) & (last < length)
        assert inside.any()
        np.testing.assert_array_equal(found[0][inside], first[inside])
        np.testing.assert_array_equal(found[1][inside], last[inside])
        assert (found[0] >= first).all() and (found[1] <= last).all()


@pytest.mark.parametrize('name', GRAPHS)
@pytest.mark.parametrize('size', [(48, 56), (72, 72)])
def test_the_pixels_of_a_field_are_those_with_a_gradient(name, size):
    x = nn.Variable((1, 4, *size), need_grad=True)
    check(x, GRAPHS[name](x), whole=name in WHOLE)


def test_so_are_those_of_a_network():
    x = nn.Variable((1, 3, 212, 228), need_grad=True)
    check(x, stand_ins.tiny(n_blocks=[1, 2])(x)[0], nothing=0)


def test_known_fields():
    """Of stacks of convolutions, from 1 + the sum of (kernel - 1) * dilation * jump."""
    x = nn.Variable((1, 3, 64, 64))
    y = convolution(x, stride=2)
    assert receptive_field(y, x) == (3, 3)
    y = L.max_pool(y, 3, 2, BUILD)
    assert receptive_field(y, x) == (7, 7)
    y = convolution(y, 'b', dilation=6)
    assert receptive_field(y, x) == (7 + 2 * 6 * 4,) * 2
    assert not pools_globally(y, x)


def test_paths_through_global_poolings_can_be_left_out():
    x = nn.Variable((1, 4, 32, 40))
    y = gate(x)
    assert pools_globally(y, x)
    assert receptive_field(y, x) == (34, 42)  # and the convolution's padding
    assert receptive_field(y, x, through_global=False) == (3, 3)
    pooled = L.global_average_pool(x, BUILD)
    assert receptive_field(pooled, x, through_global=False) == (0, 0)


def test_what_has_no_rule_is_refused():
    x = nn.Variable((1, 4, 8, 8))
    with pytest.raises(ValueError, match='no rule.*Softmax'):
        receptive_field(F.softmax(x, axis=1), x)
    with pytest.raises(ValueError, match='joined axes'):
        receptive_field(F.reshape(x, (1, 4, 4, 16), inplace=False), x)
    with pytest.raises(ValueError, match=r'\(N, C, H, W\) only'):
        receptive_field(F.max_pooling(x, (2, 2), channel_last=True), x)
