"""Receptive fields: the pixels of the image that can change a value of a map.

The rows and columns of the map are traced backwards through the graph. Kernel, stride and dilation
of convolutions and poolings turn a row into an interval of rows of the image. If there are several
paths, the interval covers them all. Padding counts, so a field can be larger than the
image. Only shapes are read.

A bilinear resize reads the two nearest rows, or one row where the centres coincide. A nearest
resize reads one row. A mean over the whole map reads every row.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import nnabla as nn
import numpy as np
from nnabla.function import Function
from numpy.typing import NDArray

from layers.graph import CONVOLUTIONS, data_inputs, depending_on, functions

GLOBAL = 'GlobalAveragePooling'
POOLINGS = ('AveragePooling', 'MaxPooling')
POINTWISE = (
    'Add2', 'BatchNormalization', 'MaximumScalar', 'MinimumScalar', 'Mul2', 'ReLU', 'ReLU6',
    'Sigmoid', 'Swish',
)  # fmt: skip
Interval: TypeAlias = tuple[NDArray[Any], NDArray[Any]]  # first and last row seen, by row
Spans: TypeAlias = dict[int, Interval]  # axis -> interval
Rule: TypeAlias = Callable[[Function, Spans], list[Spans]]

EMPTY = 1 << 40  # the interval from EMPTY to -EMPTY is empty


def receptive_field(
    output: nn.Variable, image: nn.Variable, through_global: bool = True
) -> tuple[int, int]:
    """Return height and width of the largest receptive field of the pixels of a map.

    Args:
        output: Map of the graph, (N, C, H, W).
        image: Input of the graph, (N, 3, H', W').
        through_global: Whether paths through global poolings count. If not, the field is (0, 0)
            where every path has one.

    Returns:
        Height and width in pixels of the image.

    Raises:
        ValueError: This module has no rule for a function of the graph.
    """
    height, width = (
        max(0, int((last - first).max()) + 1)
        for first, last in fields(output, image, through_global)
    )
    return height, width


def pools_globally(output: nn.Variable, image: nn.Variable) -> bool:
    """Return whether a path from ``image`` to ``output`` goes through a global pooling."""
    order = depending_on(image, functions(output))
    return any(function.info.type_name == GLOBAL for function in order)


def fields(output: nn.Variable, image: nn.Variable, through_global: bool = True) -> list[Interval]:
    """Return the receptive field of each row and of each column of a map.

    Args:
        output: Map of the graph, (N, C, H, W).
        image: Input of the graph, (N, 3, H', W').
        through_global: Whether paths through global poolings count.

    Returns:
        For rows, then for columns: the arrays of the first and of the last row or column of the
        image that each row or column of ``output`` sees. First > last means that it sees none.

    Raises:
        ValueError: This module has no rule for a function of the graph.
    """
    whole = {axis: np.arange(output.shape[axis]) for axis in (2, 3)}
    spans: dict[nn.Variable, Spans]
    spans = {output: {axis: (rows, rows) for axis, rows in whole.items()}}
    for function in reversed(depending_on(image, functions(output))):
        name = function.info.type_name
        seen = spans.get(function.outputs[0])
        if seen is None or (name == GLOBAL and not through_global):
            continue
        if function.info.args.get('channel_last'):
            raise ValueError('receptive fields are known for graphs in (N, C, H, W) only')
        for variable, own in zip(data_inputs(function), _rule(name)(function, seen)):
            spans[variable] = _union(spans.get(variable, {}), own)
    nothing = np.array([EMPTY]), np.array([-EMPTY])
    return [spans.get(image, {}).get(axis, nothing) for axis in (2, 3)]


def _union(one: Spans, other: Spans) -> Spans:
    """Return, for each axis, the smallest interval that covers both."""
    both = {
        axis: (np.minimum(first, other[axis][0]), np.maximum(last, other[axis][1]))
        for axis, (first, last) in one.items()
    }
    return both or other


def _rule(name: str) -> Rule:
    """Return the rule for a type of function.

    A rule takes the function and ``{axis: interval of its output}``, and returns such a dict for
    each of its inputs.
    """
    rules: dict[str, Rule] = {
        **dict.fromkeys(POINTWISE, _pointwise),
        **dict.fromkeys((*CONVOLUTIONS, *POOLINGS), _window),
        **dict.fromkeys((GLOBAL, 'Mean'), _mean),
        'Concatenate': _concatenate,
        'Interpolate': _interpolate,
        'Reshape': _reshape,
        'Slice': _slice,
        'Transpose': _transpose,
    }
    if name not in rules:
        raise ValueError(f'there is no rule for receptive fields through {name}')
    return rules[name]


def _pointwise(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels to the same pixels, or to the single pixel of a broadcast map."""
    shape = function.outputs[0].shape

    def of(variable: nn.Variable) -> Spans:
        return {
            axis: span if variable.shape[axis] == shape[axis] else _all_of(span, 1)
            for axis, span in seen.items()
        }

    return [of(variable) for variable in data_inputs(function)]


def _window(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels through the window of a convolution or a pooling."""
    args = function.info.args
    kernel = args.get('kernel') or function.inputs[1].shape[-2:]
    dilation = args.get('dilation', (1, 1))
    spans: Spans = {}
    for axis, (first, last) in seen.items():
        i = axis - 2
        start = first * args['stride'][i] - args['pad'][i]
        stop = last * args['stride'][i] - args['pad'][i] + dilation[i] * (kernel[i] - 1)
        spans[axis] = start, stop
    return [spans]


def _mean(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels to the whole of the axes that are averaged."""
    shape = function.inputs[0].shape
    axes = function.info.args.get('axes', (2, 3))
    return [{a: _all_of(span, shape[a]) if a in axes else span for a, span in seen.items()}]


def _all_of(span: Interval, length: int) -> Interval:
    """Extend every interval that is not empty to all ``length`` rows."""
    first, last = span
    empty = first > last
    return np.where(empty, first, 0), np.where(empty, last, length - 1)


def _concatenate(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels to the part of each input that they come from."""
    axis = function.info.args['axis']
    if axis not in seen:
        return [seen] * len(function.inputs)
    first, last = (np.clip(end, 0, function.outputs[0].shape[axis] - 1) for end in seen[axis])
    results: list[Spans] = []
    offset = 0
    for variable in function.inputs:
        length = variable.shape[axis]
        outside = (first >= offset + length) | (last < offset)
        span = (
            np.where(outside, EMPTY, np.clip(first - offset, 0, length - 1)),
            np.where(outside, -EMPTY, np.clip(last - offset, 0, length - 1)),
        )
        results.append({**seen, axis: span})
        offset += length
    return results


def _interpolate(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels to the rows that a resize reads, in exact fractions of numerator / denominator."""
    args = function.info.args
    spans: Spans = {}
    for axis, span in seen.items():
        old, new = function.inputs[0].shape[axis], function.outputs[0].shape[axis]
        if args['mode'] == 'nearest':
            spans[axis] = span[0] * old // new, span[1] * old // new
            continue
        if args['align_corners']:
            numerators, denominator = [end * (old - 1) for end in span], max(new - 1, 1)
        else:
            numerators, denominator = [(2 * end + 1) * old - new for end in span], 2 * new
        spans[axis] = numerators[0] // denominator, -(-numerators[1] // denominator)
    return [spans]


def _slice(function: Function, seen: Spans) -> list[Spans]:
    """Map pixels by start and step of the slice."""
    args = function.info.args
    return [
        {
            axis: (
                first * args['step'][axis] + args['start'][axis],
                last * args['step'][axis] + args['start'][axis],
            )
            for axis, (first, last) in seen.items()
        }
    ]


def _transpose(function: Function, seen: Spans) -> list[Spans]:
    """Map axes back to the places they had before."""
    return [{function.info.args['axes'][axis]: span for axis, span in seen.items()}]


def _reshape(function: Function, seen: Spans) -> list[Spans]:
    """Map the parts of a split axis, slowest first, to the axis before the split."""
    spans: Spans = {}
    for sources, targets in _groups(function.inputs[0].shape, function.outputs[0].shape):
        tracked = [axis for axis in targets if axis in seen]
        if not tracked:
            continue
        if len(sources) > 1:
            raise ValueError('there is no rule for receptive fields through joined axes')
        first = last = np.zeros_like(seen[tracked[0]][0])
        for axis in targets:
            length = function.outputs[0].shape[axis]
            low, high = seen.get(axis, (0, length - 1))
            first, last = first * length + low, last * length + high
        spans[sources[0]] = first, last
    return [spans]


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the shortest runs of old and of new axes with the same number of values."""
    i = j = 0
    while i < len(old):
        sources, targets = [i], [j]
        a, b = old[i], new[j]
        while a != b:
            if a < b:
                i += 1
                sources.append(i)
                a *= old[i]
            else:
                j += 1
                targets.append(j)
                b *= new[j]
        yield sources, targets
        i, j = i + 1, j + 1
