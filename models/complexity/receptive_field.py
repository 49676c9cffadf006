"""Receptive fields: which pixels of the image can change a value of a map.

Each row and column of the map is followed backwards through the graph to an interval of rows and
columns of the image, through kernel, stride and dilation of convolutions and poolings. Where there
are several paths, the interval holds those of all. Padding counts, so that a field may be larger
than the image. Only shapes are read.

A bilinear resize reads the two nearest rows, or one where their centres coincide; a nearest one
reads one row. A mean over the whole map reads all of it.
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
POINTWISE = ('BatchNormalization', 'ReLU', 'ReLU6', 'Sigmoid', 'Swish', 'Add2', 'Mul2')
Interval: TypeAlias = tuple[NDArray[Any], NDArray[Any]]  # the first and the last, of each row
Spans: TypeAlias = dict[int, Interval]  # by axis
Rule: TypeAlias = Callable[[Function, Spans], list[Spans]]

NOWHERE = 1 << 40  # an interval from here to minus here is empty


def receptive_field(
    output: nn.Variable, image: nn.Variable, through_global: bool = True
) -> tuple[int, int]:
    """Return height and width of the largest field that a pixel of a map has in the image.

    Args:
        output: Map of the graph, (N, C, H, W).
        image: Input of the graph, (N, 3, H', W').
        through_global: Whether paths through global poolings count. Without them the field is
            (0, 0) where every path has one.

    Raises:
        ValueError: A function of the graph has no rule here.
    """
    height, width = (
        max(0, int((last - first).max()) + 1)
        for first, last in fields(output, image, through_global)
    )
    return height, width


def pools_globally(output: nn.Variable, image: nn.Variable) -> bool:
    """Return whether ``output`` sees the whole image, through a global pooling."""
    order = depending_on(image, functions(output))
    return any(function.info.type_name == GLOBAL for function in order)


def fields(output: nn.Variable, image: nn.Variable, through_global: bool = True) -> list[Interval]:
    """Return the field of each row and of each column of a map.

    Arguments and errors are those of :func:`receptive_field`.

    Returns:
        For rows, then for columns: two arrays, the first and the last row or column of the image
        that each of ``output`` sees. The first is behind the last where it sees nothing.
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
            raise ValueError('receptive fields are known of graphs in (N, C, H, W) only')
        for variable, own in zip(data_inputs(function), _rule(name)(function, seen)):
            spans[variable] = _union(spans.get(variable, {}), own)
    nothing = np.array([NOWHERE]), np.array([-NOWHERE])
    return [spans.get(image, {}).get(axis, nothing) for axis in (2, 3)]


def _union(one: Spans, other: Spans) -> Spans:
    """Return, for each axis, the interval that holds both of two."""
    both = {
        axis: (np.minimum(first, other[axis][0]), np.maximum(last, other[axis][1]))
        for axis, (first, last) in one.items()
    }
    return both or other


def _rule(name: str) -> Rule:
    """Return the rule of a function by its type.

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
    """See the same pixels, or the only one of a map that is broadcast."""
    shape = function.outputs[0].shape

    def of(variable: nn.Variable) -> Spans:
        return {
            axis: span if variable.shape[axis] == shape[axis] else _all_of(span, 1)
            for axis, span in seen.items()
        }

    return [of(variable) for variable in data_inputs(function)]


def _window(function: Function, seen: Spans) -> list[Spans]:
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
    shape = function.inputs[0].shape
    axes = function.info.args.get('axes', (2, 3))
    return [{a: _all_of(span, shape[a]) if a in axes else span for a, span in seen.items()}]


def _all_of(span: Interval, length: int) -> Interval:
    """Return all ``length`` rows where the interval is not empty."""
    first, last = span
    empty = first > last
    return np.where(empty, first, 0), np.where(empty, last, length - 1)


def _concatenate(function: Function, seen: Spans) -> list[Spans]:
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
            np.where(outside, NOWHERE, np.clip(first - offset, 0, length - 1)),
            np.where(outside, -NOWHERE, np.clip(last - offset, 0, length - 1)),
        )
        results.append({**seen, axis: span})
        offset += length
    return results


def _interpolate(function: Function, seen: Spans) -> list[Spans]:
    """Compute in exact fractions: the source of row i is ``numerator / denominator``."""
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
    return [{function.info.args['axes'][axis]: span for axis, span in seen.items()}]


def _reshape(function: Function, seen: Spans) -> list[Spans]:
    """Put an axis together again that was split, slowest first."""
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
    """Yield the shortest pairs of runs of old and new axes that hold the same values."""
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
