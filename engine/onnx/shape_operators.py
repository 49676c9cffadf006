"""Converters of NNabla functions that cut, rearrange or resize maps.

Their arguments may follow the size of the image (:mod:`engine.onnx.free_sizes`). The nodes of a
file of a free size then compute them from the sizes of maps.
"""

import nnabla as nn
import nnabla.function_bases as function_bases
import numpy as np

from engine.onnx.converters import converter
from engine.onnx.errors import UnsupportedError
from engine.onnx.free_sizes import follows_size

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
MAX_TILES = 64  # per axis, of a pooling into a fixed number of tiles


@converter('Slice')
def _slice(graph, function, out, *, start, stop, step):
    """Convert a slice; omit axes that are not cut, so that their lengths are not fixed."""
    x = function.inputs[0]
    first = x.ndim - len(start)
    cuts = []
    for axis in range(first, x.ndim):
        found = _cut(graph, function, axis, axis - first, f'{out}/axis_{axis}')
        if found is not None:
            graph.require_per_image(function, axis)
            cuts.append((*found, axis, step[axis - first]))
    if not cuts:
        graph.node('Identity', [graph.name(x)], out)
        return
    names = ('starts', 'ends', 'axes', 'steps')
    numbers = [
        graph.sizes.joined(list(values), f'{out}/{name}') for name, values in zip(names, zip(*cuts))
    ]
    graph.node('Slice', [graph.name(x), *numbers], out)


def _cut(graph, function, axis, place, out):
    """Return start and stop of a slice along an axis, as numbers or names; None for all of it.

    Args:
        graph: The graph under construction.
        function: The slice.
        axis: The axis.
        place: Index of the axis in the function's arguments.
        out: Prefix of the names of nodes.
    """
    x = function.inputs[0]
    lengths = graph.free.lengths(x, axis)
    cuts = []
    for each, length in zip(graph.free.same(function), lengths):
        start, stop, step = (each.info.args[name][place] for name in ('start', 'stop', 'step'))
        if step < 1:
            raise UnsupportedError('Slice with a negative step cannot be exported')
        cuts.append(slice(start, stop, step).indices(length))
    if all(cut == (0, length, 1) for cut, length in zip(cuts, lengths)):
        return None
    if len(set(cuts)) == 1 and not graph.free.varies(x, axis):
        return cuts[0][:2]
    tile = _tile(lengths, cuts)
    if tile is None:
        raise follows_size("the place of a cut, NNabla's function Slice,")
    index, count = tile
    length, sizes = graph.sizes.length(x, axis), graph.sizes
    start, stop = (
        sizes.computed('Div', sizes.computed('Add', product, extra, f'{out}/sum'), count, out)
        for product, extra in (
            (sizes.computed('Mul', length, index, f'{out}/product'), 0),
            (sizes.computed('Mul', length, index + 1, f'{out}/product'), count - 1),
        )
    )
    return start, stop


def _tile(lengths, cuts):
    """Return the index of a tile and the number of tiles whose borders the cuts are; None for none.

    Tile i of n extends from floor(i L / n) to ceil((i + 1) L / n), as in adaptive pooling.
    """
    for count in range(1, MAX_TILES + 1):
        for index in range(count):
            tiles = [(index * n // count, -(-(index + 1) * n // count), 1) for n in lengths]
            if tiles == cuts:
                return index, count
    return None


@converter('Reshape')
def _reshape(graph, function, out, *, shape, inplace):
    x, y = function.inputs[0], function.outputs[0]
    if graph.dynamic_batch and x.shape[0] != y.shape[0]:
        graph.require_per_image(function, 0)
    parts = [_length_after_reshape(graph, x, y, axis, out) for axis in range(y.ndim)]
    if graph.dynamic_batch:
        parts[0] = 0  # copies the dimension from the input
    numbers = graph.sizes.joined(parts, f'{out}/shape')
    graph.node('Reshape', [graph.name(x), numbers], out)


def _length_after_reshape(graph, x, y, axis, out):
    """Return a length of a reshaped variable: a number, or the name of what computes it.

    It is a length of the variable before, or a whole part of one.
    """
    lengths = graph.free.lengths(y, axis)
    if not graph.free.varies(y, axis):
        return lengths[0]
    for before in range(x.ndim):
        pairs = list(zip(graph.free.lengths(x, before), lengths))
        factor = pairs[0][0] // pairs[0][1]
        if factor and all(old == factor * new for old, new in pairs):
            length = graph.sizes.length(x, before)
            return length if factor == 1 else graph.sizes.computed('Div', length, factor, out)
    raise follows_size("a length after NNabla's function Reshape")


@converter('Transpose')
def _transpose(graph, function, out, *, axes):
    if axes[0] != 0:
        graph.require_per_image(function, 0)
    graph.node('Transpose', [graph.name(function.inputs[0])], out, perm=axes)


@converter('Interpolate')
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
    x, y = function.inputs[0], function.outputs[0]
    same = graph.free.same(function)
    form = mode, align_corners, half_pixel, half_pixel_for_nn
    if form not in RESIZE_ATTRIBUTES or x.ndim != 4:
        raise UnsupportedError(f'Interpolate with {function.info.args} cannot be exported')
    if mode == 'nearest' and not all(map(_repeats_each_sample, same)):
        if any(graph.free.varies(each, axis) for each in (x, y) for axis in (2, 3)):
            raise follows_size('the choice of samples in a nearest resize by no whole factor')
        rows, columns = _nearest(function)
        middle = f'{out}/rows'
        rows = graph.constant(rows, f'{out}/of_rows')
        columns = graph.constant(columns, f'{out}/of_columns')
        graph.node('Gather', [graph.name(x), rows], middle, axis=2)
        graph.node('Gather', [middle, columns], out, axis=3)
        return
    attributes = dict(RESIZE_ATTRIBUTES[form], mode=mode)
    if half_pixel and any(map(_shrinks_to_one, same)):
        # This mode takes the first sample of a dimension that shrinks to 1, as NNabla does.
        attributes['coordinate_transformation_mode'] = 'pytorch_half_pixel'
    count = graph.batch() if graph.dynamic_batch else y.shape[0]
    sizes = graph.sizes.joined([count, y.shape[1], *_size_after(graph, y)], f'{out}/sizes')
    graph.node('Resize', [graph.name(x), '', '', sizes], out, **attributes)


def _size_after(graph, y):
    """Return height and width of a resized map: two numbers, or the size of another map.

    Networks resize maps to the size of the image or of another map, which is part of the graph.
    """
    if not any(graph.free.varies(y, axis) for axis in (2, 3)):
        return y.shape[2:]
    source = graph.map_of_size(y)
    if source is None:
        raise follows_size('the size after a resize, which no other map has,')
    return [graph.sizes.of_map(source)]


def _shrinks_to_one(function) -> bool:
    sizes = zip(function.inputs[0].shape[2:], function.outputs[0].shape[2:])
    return any(new == 1 < old for old, new in sizes)


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
