"""ONNX models of a free image size: exact at other sizes than those built, or refused."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from engine.onnx.builder import build_model
from engine.onnx.errors import UnsupportedError
from layers import functions as L
from support import stand_ins
from support.onnx_graphs import run

BUILD = L.Build()
BUILT = ((40, 56), (72, 48), (96, 136), (88, 120))
OTHERS = ((8, 8), (16, 24), (104, 64))


def free(function, **options):
    """Export a function of images (2, 3, H, W) with a free size; seeded parameters."""
    with stand_ins.zero_parameters():
        graphs = []
        for size in BUILT:
            x = nn.Variable((2, 3, *size))
            graphs.append({'x': x, 'y': function(x)})
    stand_ins.randomize_parameters()
    first = graphs[0]
    return build_model({'y': first['y']}, {'x': first['x']}, at_other_sizes=graphs[1:], **options)


def down(x, stride=2):
    return L.convolution(x, 4, 3, f'down{stride}', BUILD, stride=stride)


def pyramid(x):
    """Pool into tiles, and resize them to the size of the map, as PSPNet does."""
    maps = [L.adaptive_average_pool(x, bins, BUILD) for bins in (1, 2, 3, 6)]
    return L.concatenate(x, *(L.resize(each, x.shape[2:], BUILD) for each in maps), build=BUILD)


FUNCTIONS = {
    'a map that comes later': lambda x: L.resize(down(x), down(x, 4).shape[2:]) + down(x, 4),
    'the size of the image': lambda x: L.resize(L.average_pool(x, 4, BUILD), x.shape[2:]),
    'tiles': pyramid,
    'space to depth': lambda x: L.space_to_depth(x, 4, BUILD),
    'channels': lambda x: L.slice_channels(down(x), 1, 3, BUILD),
    'nearest by 2': lambda x: L.resize(L.max_pool(x, 3, 2, BUILD), x.shape[2:], how='nearest'),
    'attention': lambda x: x * L.sigmoid(L.global_average_pool(x, BUILD)),
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_a_function_is_exact_at_other_sizes(name):
    function = FUNCTIONS[name]
    model = free(function, dynamic_batch=True)
    for height, width in OTHERS:
        images = np.random.RandomState(3).randn(3, 3, height, width).astype(np.float32)
        y = function(nn.Variable.from_numpy_array(images))
        y.forward()
        np.testing.assert_allclose(run(model, images), y.d, rtol=0, atol=1e-5)


def test_free_axes_have_names():
    model = free(down)
    (x,), (y,) = model.graph.input, model.graph.output
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (x, y)]
    assert dims == [[2, 3, 'height', 'width'], [2, 4, 'y_axis_2', 'y_axis_3']]


def whole_pooling(x):
    return F.average_pooling(x, x.shape[2:])


REFUSED = {
    'kernel of NNabla.s function AveragePooling': whole_pooling,
    'which no other map has': lambda x: F.interpolate(
        x, output_size=[side // 3 for side in x.shape[2:]], mode='linear', half_pixel=True
    ),
    'nearest resize by no whole factor': lambda x: F.interpolate(
        down(x), output_size=(down(x).shape[2] * 2 - 1, 7), mode='nearest'
    ),
    'the place of a cut': lambda x: x[:, :, : x.shape[2] - 3],
    'a length after NNabla.s function Reshape': lambda x: F.reshape(x, (2, 1, 1, -1)),
    'the shape of the constant': lambda x: x * F.constant(2, x.shape),
    'has other functions': lambda x: F.relu(x) if x.shape[2] == 40 else F.tanh(x),
}


@pytest.mark.parametrize('line', REFUSED)
def test_what_cannot_follow_the_size_is_refused(line):
    with pytest.raises(UnsupportedError, match=line):
        free(REFUSED[line])
