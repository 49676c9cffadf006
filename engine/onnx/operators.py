"""Converters from NNabla functions to ONNX operators of opset 13, by function type.

A converter takes the graph under construction (:class:`engine.onnx.builder.OnnxGraph`), the NNabla
function and the name of the result, and adds nodes. It raises :class:`UnsupportedError` if ONNX
cannot express the function exactly. NNabla's definitions: sony/nnabla, v1.39.0,
build-tools/code_generator/functions.yaml. ONNX's definitions: onnx/onnx, docs/Operators.md, opset
13.
"""

import numpy as np

from engine.onnx import shape_operators  # noqa: F401  (registers its converters)
from engine.onnx.converters import CONVERTERS, converter
from engine.onnx.errors import UnsupportedError

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
SCALAR_OPERATORS = {
    'AddScalar': 'Add',
    'MulScalar': 'Mul',
    'PowScalar': 'Pow',
    'MaximumScalar': 'Max',
    'MinimumScalar': 'Min',
}
# All operators that a file can have. A reader of files refuses others, which could run for ever.
OPERATORS = frozenset(
    (*DIRECT_OPERATORS.values(), *SCALAR_OPERATORS.values(), 'ArgMax', 'AveragePool',
     'BatchNormalization', 'Cast', 'Clip', 'Concat', 'Conv', 'Gather', 'MaxPool', 'ReduceMean',
     'Reshape', 'Resize', 'Shape', 'Slice', 'Softmax', 'Transpose')
)  # fmt: skip
BATCH_STATISTICS_PROBLEM = (
    'batch norm with batch statistics cannot be exported: use the evaluation graph'
)


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


@converter('Convolution')
def _convolution(graph, function, out, *, base_axis, pad, stride, dilation, group, channel_last):
    _conv(graph, function, out, function.inputs[1].shape, base_axis, pad, stride, dilation, group)


@converter('DepthwiseConvolution')
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


@converter('BatchNormalization', 'FusedBatchNormalization')
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


@converter('ReLU6')
def _relu6(graph, function, out):
    limits = [graph.constant(np.float32(value), f'relu6/{value}') for value in (0, 6)]
    graph.node('Clip', [graph.name(function.inputs[0]), *limits], out)


@converter('Swish')
def _swish(graph, function, out):
    x = graph.name(function.inputs[0])
    graph.node('Sigmoid', [x], f'{out}/sigmoid')
    graph.node('Mul', [x, f'{out}/sigmoid'], out)


@converter('Softmax')
def _softmax(graph, function, out, *, axis):
    axis %= function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('Softmax', [graph.name(function.inputs[0])], out, axis=axis)


@converter('AveragePooling')
def _average_pooling(graph, function, out, *, including_pad, **arguments):
    _pooling(graph, function, out, 'AveragePool', arguments, count_include_pad=int(including_pad))


@converter('MaxPooling')
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


@converter('Mean')
def _mean(graph, function, out, *, axes, keep_dims):
    axes = sorted(axis % function.inputs[0].ndim for axis in axes)
    graph.require_per_image(function, *axes)
    graph.node(
        'ReduceMean', [graph.name(function.inputs[0])], out, axes=axes, keepdims=int(keep_dims)
    )


@converter('Max')
def _argmax(graph, function, out, *, axes, keep_dims, with_index, only_index):
    """Convert Max with ``only_index``; returning the largest value is not supported."""
    if not only_index or len(axes) != 1:
        raise UnsupportedError('Max is exported only as the index over one axis')
    axis = axes[0] % function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('ArgMax', [graph.name(function.inputs[0])], out, axis=axis, keepdims=int(keep_dims))


@converter('Concatenate')
def _concatenate(graph, function, out, *, axis):
    axis %= function.inputs[0].ndim
    graph.require_per_image(function, axis)
    graph.node('Concat', [graph.name(v) for v in function.inputs], out, axis=axis)
