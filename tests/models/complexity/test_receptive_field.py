"""Receptive fields agree with the pixels that have a gradient, and with kernels and strides."""

from functools import partial

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from layers import functions as L
from models import complexity
from models.complexity.receptive_field import fields, pools_globally, receptive_field
from support import stand_ins

BUILD = L.Build()
ROUNDING_ERROR = 1e-5  # of a bilinear weight of 0
WHOLE_IMAGE = ('gate', 'tiles of one size')  # every pixel's field extends beyond the image


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
    """Return the first and last row or column of ``x`` with a gradient, for each of ``y``.

    Args:
        x: Input of the graph.
        y: Map of the graph.
        axis: 2 for rows, 3 for columns.
        nothing: Gradients up to this share of the largest count as none.
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
    """Set parameters such that every path has a gradient.

    Nothing cancels, no ReLU is closed, and sums stay near 1.
    """
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if name.endswith('/W'):
            parameter.d = 1 / np.prod(parameter.shape[1:])
        else:
            parameter.d = 1 if name.endswith(('gamma', 'var')) else 0


def check_fields(x, y, nothing=ROUNDING_ERROR, whole=False):
    """Check that gradients fill the field inside the image, and are within it where it has padding.

    With ``whole``, every field extends beyond the image.
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
@pytest.mark.parametrize('size', [(48, 56), (40, 40)])
def test_the_pixels_of_a_field_are_those_with_a_gradient(name, size):
    x = nn.Variable((1, 4, *size), need_grad=True)
    check_fields(x, GRAPHS[name](x), whole=name in WHOLE_IMAGE)


def test_the_pixels_of_a_networks_field_are_those_with_a_gradient():
    x = nn.Variable((1, 3, 132, 140), need_grad=True)
    check_fields(x, stand_ins.tiny(n_blocks=[1, 1])(x)[0], nothing=0)


def test_fields_of_stacked_convolutions():
    """The field is 1 + the sum of (kernel - 1) * dilation * jump."""
    x = nn.Variable((1, 3, 64, 64))
    y = convolution(x, stride=2)
    assert receptive_field(y, x) == (3, 3)
    y = L.max_pool(y, 3, 2, BUILD)
    assert receptive_field(y, x) == (7, 7)
    y = convolution(y, 'b', dilation=6)
    assert receptive_field(y, x) == (7 + 2 * 6 * 4,) * 2
    assert not pools_globally(y, x)


def test_paths_through_global_poolings_can_be_excluded():
    x = nn.Variable((1, 4, 32, 40))
    y = gate(x)
    assert pools_globally(y, x)
    assert receptive_field(y, x) == (34, 42)  # with the convolution's padding
    assert receptive_field(y, x, through_global=False) == (3, 3)
    pooled = L.global_average_pool(x, BUILD)
    assert receptive_field(pooled, x, through_global=False) == (0, 0)


def test_functions_without_a_rule_are_refused():
    x = nn.Variable((1, 4, 8, 8))
    with pytest.raises(ValueError, match='no rule.*Softmax'):
        receptive_field(F.softmax(x, axis=1), x)
    with pytest.raises(ValueError, match='joined axes'):
        receptive_field(F.reshape(x, (1, 4, 4, 16), inplace=False), x)
    with pytest.raises(ValueError, match=r'\(N, C, H, W\) only'):
        receptive_field(F.max_pooling(x, (2, 2), channel_last=True), x)


def chained(*layers):
    """Return 1 + the sum of (kernel - 1) * jump over a chain of (kernel, stride, times)."""
    field, jump = 1, 1
    for kernel, stride, times in layers:
        for i in range(times):
            field, jump = field + (kernel - 1) * jump, jump * (stride if i == 0 else 1)
    return field


@pytest.mark.parametrize(
    'name, stage, field',
    [
        # A stem of three convolutions and a pooling, then stages of 3x3 convolutions.
        (
            'csail_resnet50_c1',
            'encoder/layer4',
            chained((3, 2, 3), (3, 2, 1), (3, 1, 3), (3, 2, 4), (3, 2, 6), (3, 2, 3)),
        ),
        (
            'csail_resnet18_c1',
            'encoder/layer4',
            chained((3, 2, 3), (3, 2, 1), (3, 1, 4), (3, 2, 4), (3, 2, 4), (3, 2, 4)),
        ),
        # From torchvision's table of expansions, channels, blocks and strides.
        (
            'unet_aspp_mobilenetv2_tv_edgeailite',
            'encoder/features/17',
            chained((3, 2, 1), (3, 1, 1), (3, 2, 2), (3, 2, 3), (3, 2, 4), (3, 1, 3), (3, 2, 3),
                    (3, 1, 1)),
        ),
    ],
)  # fmt: skip
def test_receptive_fields_of_encoders(name, stage, field):
    measured = complexity.measure_network(models.create(name), (256, 320))
    found = next(s for s in measured.stages if s.name == stage)
    assert found.receptive_field == (field, field)
    assert not found.sees_all
