"""Every function with an ONNX converter computes what NNabla computes, at odd sizes."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from engine.onnx.builder import build_model
from engine.onnx.operators import CONVERTERS, DIRECT_OPERATORS, SCALAR_OPERATORS, UnsupportedError
from layers import functions as L
from layers.graph import functions
from support.onnx_graphs import SHAPE, exported, image, run

BUILD, FUSED = L.Build(), L.Build(cuda=True)


def convolution(channels=6, **options):
    return lambda x: L.convolution(x, channels, 3, 'c', BUILD, **options)


def depthwise_twice(x):
    """Compute two maps from each channel."""
    weight = BUILD.parameter('twice/W', (12, 3, 3), np.float32(0.1) + np.zeros((12, 3, 3)))
    return F.depthwise_convolution(x, weight, pad=(1, 1), multiplier=2)


def fused_with_sum(x):
    """Apply batch norm, a sum and ReLU in one function."""
    parameters = [BUILD.parameter(name, (1, 6, 1, 1), None) for name in ('b', 'g', 'm', 'var')]
    return F.fused_batch_normalization(x, *parameters, z=F.sigmoid(x), batch_stat=False)


def interpolated(height, width, **options):
    return lambda x: F.interpolate(x, output_size=(height, width), **options)


HALF, CORNERS, EXACT = dict(half_pixel=True), dict(align_corners=True), dict(half_pixel_for_nn=True)
FUNCTIONS = {
    'convolution': convolution(channels=5),
    'convolution without bias': convolution(bias=False, pad=0),
    'strided': convolution(stride=2),
    'dilated': convolution(dilation=3),
    'grouped': convolution(groups=3),
    'grouped as on a GPU': lambda x: L.convolution(x, 6, 3, 'c', FUSED, groups=6),
    'depthwise': convolution(groups=6),
    'depthwise, strided': convolution(groups=6, stride=2),
    'depthwise, dilated': convolution(groups=6, dilation=2),
    'depthwise, two maps': depthwise_twice,
    'batch norm': lambda x: L.batch_norm(x, 'n', BUILD, eps=1e-2),
    'batch norm and ReLU': lambda x: L.bn_relu(x, 'n', BUILD),
    'fused': lambda x: L.bn_relu(x, 'n', FUSED),
    'fused with a sum': fused_with_sum,
    'batch norm and ReLU6': lambda x: L.bn_relu6(x * 9, 'n', BUILD),
    'swish': lambda x: L.swish(x, BUILD),
    'sigmoid': L.sigmoid,
    'tanh': F.tanh,
    'identity': F.identity,
    'gate': lambda x: x * L.sigmoid(L.global_average_pool(x, BUILD)) + x,
    'difference and quotient': lambda x: (x - F.sigmoid(x)) / (F.sigmoid(x) + 1),
    'scalars': lambda x: F.pow_scalar(F.sigmoid(x * 3 + 2), 2),
    'limits': lambda x: F.minimum_scalar(F.maximum_scalar(x, -0.2), 0.3),
    'softmax': lambda x: F.softmax(x, axis=1),
    'softmax of the last axis': lambda x: F.softmax(x, axis=-1),
    'average pool': lambda x: L.average_pool(x, 2, BUILD),
    'average pool, padded': lambda x: L.average_pool(x, 5, BUILD, stride=2, pad=2),
    'average pool larger than the map': lambda x: L.average_pool(x, 17, BUILD, stride=8, pad=8),
    'average pool without the padding': lambda x: F.average_pooling(
        x, (3, 3), stride=(2, 2), pad=(1, 1), including_pad=False
    ),
    'max pool': lambda x: L.max_pool(x - 5, 3, 2, BUILD),
    'max pool of no square': lambda x: F.max_pooling(x, (3, 2), (1, 3)),
    'global average pool': lambda x: L.global_average_pool(x, BUILD),
    'adaptive pool of slices': lambda x: L.adaptive_average_pool(x, 6, BUILD),
    'means of rows': lambda x: F.mean(x, axis=3),
    'channels': lambda x: L.slice_channels(x, 1, 5, BUILD),
    'slices': lambda x: x[:, 1:-1, 2::3, -7:],
    'whole slice': lambda x: x[:, :],
    'concatenation': lambda x: F.concatenate(x, F.relu(x), axis=-2),
    'space to depth': lambda x: L.space_to_depth(x[:, :, :12, :15], 3, BUILD),
    'reshape and transpose': lambda x: F.transpose(F.reshape(x, (x.shape[0], 6, -1)), (0, 2, 1)),
    'bilinear, larger': lambda x: L.resize(x, (41, 18), BUILD),
    'bilinear, smaller': lambda x: L.resize(x, (7, 5), BUILD),
    'bilinear of one row': lambda x: L.resize(x[:, :, :1], (9, 30), BUILD),
    'bilinear to one row': interpolated(1, 9, mode='linear', **HALF),
    'bilinear corners': lambda x: L.resize(x, (29, 40), BUILD, 'bilinear_corners'),
    'bilinear corners, smaller': interpolated(5, 8, mode='linear', **CORNERS),
    'bilinear, asymmetric': interpolated(31, 9, mode='linear'),
    'nearest, twice': lambda x: L.resize(x, (26, 34), BUILD, 'nearest'),
    'nearest, any size': lambda x: L.resize(x, (185, 24), BUILD, 'nearest'),
    'nearest, smaller': lambda x: L.resize(x, (5, 4), BUILD, 'nearest'),
    'nearest exact': interpolated(39, 94, mode='nearest', **EXACT),
    'constants': lambda x: (
        x * F.concatenate(*(F.constant(i, (1, 1, 1, 1)) for i in range(6)), axis=1)
    ),
}
OVER_BATCH = {
    'a mean': lambda x: F.mean(x, axis=(0, 2, 3), keepdims=True) + x,
    'a reshape': lambda x: F.reshape(x, (2 * x.shape[0], 3, 13, 17)),
    'a concatenation': lambda x: F.concatenate(x, x, axis=0),
    'a slice': lambda x: x[:1],
    'a transposition': lambda x: F.transpose(x, (1, 0, 2, 3)),
    'a softmax': lambda x: F.softmax(x, axis=0),
}
REFUSED = {
    'Dropout': lambda x: F.dropout(x, 0.5),
    'AveragePooling with ignore_border=False': lambda x: F.average_pooling(
        x, (3, 3), (2, 2), ignore_border=False
    ),
    'MaxPooling with ignore_border=False': lambda x: F.max_pooling(
        x, (3, 3), (2, 2), ignore_border=False
    ),
    'batch statistics': lambda x: L.batch_norm(x, 'n', L.Build(train=True)),
    'channel_last': lambda x: L.average_pool(x, 2, L.Build(channel_last=True)),
    'Max is exported only': lambda x: F.max(x, axis=1),
    'negative step': lambda x: x[:, ::-1],
    'Interpolate': interpolated(20, 20, mode='nearest', **CORNERS),
    'neither an input nor a parameter': lambda x: x + nn.Variable(x.shape),
    'ELU': F.elu,
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_a_function_computes_the_same(name):
    """With a fixed and with a dynamic number of images."""
    model, x, y = exported(FUNCTIONS[name], 2)
    x.d = image(2)
    y.forward()
    assert run(model, x.d) == pytest.approx(y.d, abs=1e-5 * max(1, np.abs(y.d).max()))
    free, _, _ = exported(FUNCTIONS[name], 2, dynamic_batch=True)
    x = nn.Variable.from_numpy_array(image(3))
    y = FUNCTIONS[name](x)
    y.forward()
    assert run(free, x.d) == pytest.approx(y.d, abs=1e-5 * max(1, np.abs(y.d).max()))


def test_every_converter_is_covered():
    tried = set()
    for function in FUNCTIONS.values():
        nn.clear_parameters()
        y = function(nn.Variable((2, *SHAPE)))
        tried.update(f.info.type_name for f in functions(y))
    assert {*DIRECT_OPERATORS, *SCALAR_OPERATORS, *CONVERTERS} - tried == {'Max'}


def test_argmax_of_bytes_as_bytes():
    """The first index of the largest value, from uint8 to uint8."""
    x = nn.Variable((2, *SHAPE))
    y = F.max(x * 2, axis=1, only_index=True)
    model = build_model({'y': y}, {'x': x}, types={'x': 'uint8', 'y': 'uint8'}, dynamic_batch=True)
    values = np.random.RandomState(3).randint(0, 4, (3, *SHAPE)).astype(np.uint8)
    result = run(model, values)
    assert result.dtype == np.uint8
    assert np.array_equal(result, values.argmax(axis=1))


def test_nearest_resizes_agree_for_all_factors():
    """Positions between two samples give NNabla's choice, however a runtime rounds."""
    for old, new in (
        (4, 194),
        (20, 24),
        (28, 4),
        (30, 185),
        (39, 213),
        (70, 5),
        (41, 512),
        (7, 31),
    ):
        x = nn.Variable.from_numpy_array(np.arange(old, dtype=np.float32).reshape(1, 1, 1, old))
        for options in (dict(mode='nearest'), dict(mode='nearest', **EXACT)):
            y = F.interpolate(x, output_size=(1, new), **options)
            y.forward()
            assert np.array_equal(run(build_model({'y': y}, {'x': x}), x.d), y.d), (old, new)


@pytest.mark.parametrize('name', OVER_BATCH)
def test_functions_across_images_need_a_fixed_batch_size(name):
    model, x, y = exported(OVER_BATCH[name], 2)
    x.d = image(2)
    y.forward()
    assert run(model, x.d) == pytest.approx(y.d, abs=1e-5)
    with pytest.raises(UnsupportedError, match='images of a batch'):
        exported(OVER_BATCH[name], 2, dynamic_batch=True)


@pytest.mark.parametrize('name', REFUSED)
def test_unsupported_functions_are_named(name):
    with pytest.raises(UnsupportedError, match=name):
        exported(REFUSED[name], 2)
