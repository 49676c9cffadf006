"""Converters from NNabla functions to ONNX operators of opset 13, by function type.

A converter takes the graph under construction (:class:`engine.onnx.builder.OnnxGraph`), the NNabla
function and the name of the result, and adds nodes. It raises :class:`UnsupportedError` if ONNX
cannot express the function exactly. NNabla's definitions: sony/nnabla, v1.39.0,
build-tools/code_generator/functions.yaml. ONNX's definitions: onnx/onnx, docs/Operators.md, opset
13.
"""

from collections.abc import Callable

import nnabla as nn
import nnabla.function_bases as function_bases
import numpy as np

from common.errors import UserError

DIRECT_OPERATORS = {  # functions whose arguments do not change the result
    'Add2': 'Add',
    'Sub2': 'Sub',
    'Mul2': 'Mul',
    'Div2': 'Div',
    'ReLU': 'Relu',
    'Sigmoid': 'Sigmoid',
    'Tanh': 'Tanh',
    'Identity': 'Identity',
    'GlobalAveragePooling': 'GlobalAveragePool',
}
SCALAR_OPERATORS = {'AddScalar': 'Add', 'MulScalar': 'Mul', 'PowScalar': 'Pow'}
# Attributes of ONNX's Resize by NNabla's mode, align_corners, half_pixel and half_pixel_for_nn.
RESIZE_ATTRIBUTES = {
    ('linear', False, False, False): dict(coordinate_transformation_mode='asymmetric'),
    ('linear', False, True, False): dict(coordinate_transformation_mode='half_pixel'),
    ('linear', True, False, False): dict(coordinate_transformation_mode='align_corners'),
    ('nearest', False, False, False): dict(
        coordinate_transformation_mode='asymmetric', nearest_mode='floor'
    ),
    ('nearest', False, False, True): dict(
        coordinate_transformation_mode='half_pixel', nearest_mode='round_prefer_ceil'
    ),
}
CONVERTERS: dict[str, Callable] = {}
BATCH_STATISTICS_PROBLEM = (
    'batch norm with batch statistics cannot be exported: use the evaluation graph'
)


class UnsupportedError(UserError):
    """A function has no exact equivalent in ONNX, or none for a dynamic batch size."""


def add_nodes(graph, function, out: str):
    """Add the nodes that compute an NNabla function.

    Args:
        graph: The :class:`engine.onnx.builder.OnnxGraph` under construction.
        function: The NNabla function.
        out: Name of the result.

    Raises:
        UnsupportedError: The function has no exact equivalent in ONNX.
    """
    kind, arguments = function.info.type_name, function.info.args
    if arguments.get('channel_last'):
        raise UnsupportedError(f'{kind} with channel_last cannot be exported to ONNX')
    if kind in DIRECT_OPERATORS:
        graph.node(DIRECT_OPERATORS[kind], [graph.name(v) for v in function.inputs], out)
    elif kind in SCALAR_OPERATORS:
        value = graph.constant(np.float32(arguments['val']), f'{out}/value')
        graph.node(SCALAR_OPERATORS[kind], [graph.name(function.inputs[0]), value], out)
    elif kind in CONVERTERS:
        CONVERTERS[kind](graph, function, out, **arguments)
    elif kind.endswith('BatchStatistics'):  # on CPUs, layers/sync_batch_norm.py
        raise UnsupportedError(BATCH_STATISTICS_PROBLEM)
    else:
        raise UnsupportedError(f"NNabla's function {kind} cannot be exported to ONNX")


def _converter(*kinds):
    def register(function):
        CONVERTERS.update(dict.fromkeys(kinds, function))
        return function

    return register


@_converter('Convolution')
def _convolution(graph, function, out, *, base_axis, pad, stride, dilation, group, channel_last):
    _conv(graph, function, out, function.inputs[1].shape, base_axis, pad, stride, dilation, group)


@_converter('DepthwiseConvolution')
def _depthwise(graph, function, out, *, base_axis, pad, stride, dilation, multiplier):
    """Convert to a convolution with one group per channel, kernel (C * multiplier, 1, k, k)."""
    maps, *kernel = function.inputs[1].shape
    shape = (maps, 1, *kernel)
    groups = function.inputs[0].shape[1]
    _conv(graph, function, out, shape, base_axis, pad, stride, dilation, groups)


def _conv(graph, function, out, weight_shape, base_axis, pad, stride, dilation, groups):
    if base_axis != 1 or len(weight_shape) != 4:
        raise UnsupportedError(
            f'{function.info.type_name} with other than two spatial axes cannot be exported'
        )
    x, weight, *bias = function.inputs
    inputs = [graph.name(x), graph.constant_of(weight, weight_shape), *map(graph.name, bias)]
    graph.node(
        'Conv',
        inputs,
        out,
        kernel_shape=list(weight_shape[2:]),
        pads=[*pad, *pad],
        strides=stride,
        dilations=dilation,
        group=groups,
    )


@_converter('BatchNormalization', 'FusedBatchNormalization')
def _batch_norm(
    graph,
    function,
    out,
    *,
    axes,
    decay_rate,
    eps,
    batch_stat,
    no_scale=False,
    no_bias=False,
    nonlinearity=None,
):
    """Convert batch norm with running statistics; runtimes fold it into the convolution before."""
    kind = function.info.type_name
    if batch_stat:
        raise UnsupportedError(BATCH_STATISTICS_PROBLEM)
    if axes != [1] or no_scale or no_bias or nonlinearity not in (None, '', 'relu'):
        raise UnsupportedError(f'{kind} with {function.info.args} cannot be exported')
    x, beta, gamma, mean, var, *added = function.inputs
    relu = nonlinearity == 'relu'
    vectors = [graph.constant_of(v, (v.size,)) for v in (gamma, beta, mean, var)]
    y = f'{out}/normalised' if relu else out
    graph.node('BatchNormalization', [graph.name(x), *vectors], y, epsilon=eps)
    if added:
        graph.node('Add', [y, graph.name(added[0])], f'{out}/sum')
        y = f'{out}/sum'
    if relu:
        graph.node('Relu', [y], out)


@_converter('ReLU6')
def _relu6(graph, function, out):
    limits = [graph.constant(np.float32(value), f'relu6/{value}') for value in (0, 6)]
    graph.node('Clip', [graph.name(function.inputs[0]), *limits], out)


@_converter('Swish')
def _swish(graph, function, out):
    x = graph.name(function.inputs[0])
    graph.node('Sigmoid', [x], f'{out}/sigmoid')
    graph.node('Mul', [x, f'{out}/sigmoid'], out)


@_converter('Softmax')
def _softmax(graph, function, out, *, axis):
    axis %= function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('Softmax', [graph.name(function.inputs[0])], out, axis=axis)


@_converter('AveragePooling')
def _average_pooling(graph, function, out, *, including_pad, **arguments):
    _pooling(graph, function, out, 'AveragePool', arguments, count_include_pad=int(including_pad))


@_converter('MaxPooling')
def _max_pooling(graph, function, out, **arguments):
    _pooling(graph, function, out, 'MaxPool', arguments)


def _pooling(graph, function, out, kind, arguments, **attributes):
    if not arguments[
        'ignore_border'
    ]:  # NNabla's result can have one row more than ONNX's with ceil_mode
        name = function.info.type_name
        raise UnsupportedError(f'{name} with ignore_border=False cannot be exported exactly')
    graph.node(
        kind,
        [graph.name(function.inputs[0])],
        out,
        kernel_shape=arguments['kernel'],
        strides=arguments['stride'],
        pads=[*arguments['pad'], *arguments['pad']],
        **attributes,
    )


@_converter('Mean')
def _mean(graph, function, out, *, axes, keep_dims):
    axes = sorted(axis % function.inputs[0].ndim for axis in axes)
    graph.require_per_image(function, *axes)
    graph.node(
        'ReduceMean', [graph.name(function.inputs[0])], out, axes=axes, keepdims=int(keep_dims)
    )


@_converter('Max')
def _argmax(graph, function, out, *, axes, keep_dims, with_index, only_index):
    """Convert Max with ``only_index``; returning the largest value is not supported."""
    if not only_index or len(axes) != 1:
        raise UnsupportedError('Max is exported only as the index over one axis')
    axis = axes[0] % function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('ArgMax', [graph.name(function.inputs[0])], out, axis=axis, keepdims=int(keep_dims))


@_converter('Concatenate')
def _concatenate(graph, function, out, *, axis):
    axis %= function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('Concat', [graph.name(v) for v in function.inputs], out, axis=axis)


@_converter('Slice')
def _slice(graph, function, out, *, start, stop, step):
    """Convert a slice; omit axes that are not cut, so that the batch size is not fixed."""
    shape = function.inputs[0].shape
    first = len(shape) - len(start)
    cuts = []
    for axis, length in enumerate(shape[first:], first):
        cut = [values[axis - first] for values in (start, stop, step)]
        if cut[2] < 1:
            raise UnsupportedError('Slice with a negative step cannot be exported')
        cut = slice(*cut).indices(length)
        if cut != (0, length, 1):
            graph.require_per_image(function, axis)
            cuts.append((*cut[:2], axis, cut[2]))
    if not cuts:
        graph.node('Identity', [graph.name(function.inputs[0])], out)
        return
    numbers = [
        graph.constant(np.array(values, np.int64), f'{out}/{name}')
        for name, values in zip(('starts', 'ends', 'axes', 'steps'), zip(*cuts))
    ]
    graph.node('Slice', [graph.name(function.inputs[0]), *numbers], out)


@_converter('Reshape')
def _reshape(graph, function, out, *, shape, inplace):
    before, after = function.inputs[0].shape, list(function.outputs[0].shape)
    if graph.dynamic_batch:
        if before[0] != after[0]:
            graph.require_per_image(function, 0)
        after[0] = 0  # copies the dimension from the input
    numbers = graph.constant(np.array(after, np.int64), f'{out}/shape')
    graph.node('Reshape', [graph.name(function.inputs[0]), numbers], out)


@_converter('Transpose')
def _transpose(graph, function, out, *, axes):
    if axes[0] != 0:
        graph.require_per_image(function, 0)
    graph.node('Transpose', [graph.name(function.inputs[0])], out, perm=axes)


@_converter('Interpolate')
def _interpolate(
    graph,
    function,
    out,
    *,
    output_size,
    mode,
    align_corners,
    half_pixel,
    half_pixel_for_nn,
    channel_last,
):
    """Convert to a resize with explicit sizes, because rounded factors could change the size.

    A nearest resize that runtimes compute differently becomes a selection of rows and columns.
    """
    before, after = function.inputs[0].shape, function.outputs[0].shape
    form = mode, align_corners, half_pixel, half_pixel_for_nn
    if form not in RESIZE_ATTRIBUTES or len(before) != 4:
        raise UnsupportedError(f'Interpolate with {function.info.args} cannot be exported')
    if mode == 'nearest' and not _repeats_each_sample(function):
        rows, columns = _nearest(function)
        middle = f'{out}/rows'
        rows = graph.constant(rows, f'{out}/of_rows')
        columns = graph.constant(columns, f'{out}/of_columns')
        graph.node('Gather', [graph.name(function.inputs[0]), rows], middle, axis=2)
        graph.node('Gather', [middle, columns], out, axis=3)
        return
    attributes = dict(RESIZE_ATTRIBUTES[form], mode=mode)
    if half_pixel and any(new == 1 < old for old, new in zip(before[2:], after[2:])):
        # This mode takes the first sample of a dimension that shrinks to 1, as NNabla does.
        attributes['coordinate_transformation_mode'] = 'pytorch_half_pixel'
    if graph.dynamic_batch:
        rest = graph.constant(np.array(after[1:], np.int64), f'{out}/rest_of_size')
        sizes = f'{out}/sizes'
        graph.node('Concat', [graph.batch(), rest], sizes, axis=0)
    else:
        sizes = graph.constant(np.array(after, np.int64), f'{out}/sizes')
    graph.node('Resize', [graph.name(function.inputs[0]), '', '', sizes], out, **attributes)


def _repeats_each_sample(function) -> bool:
    """Return whether a nearest resize repeats each sample the same number of times.

    If so, all runtimes agree with NNabla. Otherwise some positions lie between two samples, and the
    choice depends on how the factor is rounded.
    """
    sizes = zip(function.inputs[0].shape[2:], function.outputs[0].shape[2:], _nearest(function))
    return all(
        new % old == 0 and np.array_equal(taken, np.arange(new) // (new // old))
        for old, new, taken in sizes
    )


def _nearest(function) -> list[np.ndarray]:
    """Return the input row of each output row, and the input column of each output column."""
    taken = []
    for axis in (2, 3):
        old, new = function.inputs[0].shape[axis], function.outputs[0].shape[axis]
        ramp = nn.Variable.from_numpy_array(np.arange(old, dtype=np.float32).reshape(1, 1, 1, old))
        y = function_bases.interpolate(ramp, **{**function.info.args, 'output_size': (1, new)})
        y.forward()
        taken.append(y.d.ravel().astype(np.int64))
    return taken
