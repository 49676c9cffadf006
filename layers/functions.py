"""Layers: where every network's functions come from.

Parameter names, resizing rules, the recompute policy, the memory layout and the way around broken
GPU kernels are decided here and, for batch norms, in :mod:`layers.norms`, once. Tensors are
``(N, C, H, W)`` Variables, or ``(N, H, W, C)`` in a build that is channel_last: ask
:func:`channels_of` and :func:`size_of`.
"""

from contextlib import AbstractContextManager
from typing import TypedDict

import nnabla as nn
import nnabla.functions as F
import nnabla.initializer as I
import numpy as np
from numpy.typing import NDArray

from layers.build import Build, Initializer, on_gpu, recompute_if, scope
from layers.norms import Norm, TooFewValues, batch_norm, bn_add_relu, bn_relu, bn_relu6

__all__ = [  # and what is defined below
    'Build',
    'Norm',
    'TooFewValues',
    'batch_norm',
    'bn_add_relu',
    'bn_relu',
    'bn_relu6',
    'on_gpu',
    'scope',
]

# A mean over fewer than 2048 values a row is a matrix-vector product in NNabla's CUDA extension.
LARGEST_FOLD = 1024


class _Resizing(TypedDict, total=False):
    mode: str
    half_pixel: bool
    align_corners: bool


RESIZING: dict[str, _Resizing] = {
    'bilinear': {'mode': 'linear', 'half_pixel': True},
    'bilinear_corners': {'mode': 'linear', 'align_corners': True},
    'nearest': {'mode': 'nearest'},
}


def channels_of(x: nn.Variable, build: Build) -> int:
    """C."""
    return x.shape[build.channel_axis]


def size_of(x: nn.Variable, build: Build) -> tuple[int, int]:
    """H and W."""
    height, width = x.shape[1:3] if build.channel_last else x.shape[2:]
    return height, width


def to_layout(x: nn.Variable, build: Build) -> nn.Variable:
    """``(N, C, H, W)`` in the layout of the build."""
    return F.transpose(x, (0, 2, 3, 1)) if build.channel_last else x


def from_layout(x: nn.Variable, build: Build) -> nn.Variable:
    """The layout of the build as ``(N, C, H, W)``."""
    return F.transpose(x, (0, 3, 1, 2)) if build.channel_last else x


def convolution(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: Build,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    pad: int | None = None,
    bias: bool = True,
    initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
) -> nn.Variable:
    """A square convolution, (N, C, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)).

    pad: by default what keeps the size at stride 1. initializer: of the weights; by default
    Glorot's uniform one. bias_initializer: by default zero. Parameters: ``<name>/conv/W (channels,
    C / groups, kernel, kernel)``, ``<name>/conv/b (channels,)``. With as many groups as channels it
    is a depthwise convolution, which has a function of its own on the CPU; that one is broken on
    Hopper GPUs.
    """
    inputs = channels_of(x, build)
    pad = dilation * (kernel // 2) if pad is None else pad
    if initializer is None:
        limit = I.calc_uniform_lim_glorot(inputs, channels, (kernel, kernel))
        initializer = I.UniformInitializer(limit)
    with scope(name), scope('conv'):
        w = build.parameter('W', (channels, inputs // groups, kernel, kernel), initializer)
        start = bias_initializer or I.ConstantInitializer()
        b = build.parameter('b', (channels,), start) if bias else None
    pads, strides, dilations = ((value, value) for value in (pad, stride, dilation))
    if groups == inputs == channels > 1 and not build.cuda:
        w = F.reshape(w, (channels, kernel, kernel), inplace=False)
        y = F.depthwise_convolution(x, w, b, pad=pads, stride=strides, dilation=dilations)
    else:
        if build.channel_last:
            w = F.transpose(w, (0, 2, 3, 1))
        y = F.convolution(
            x,
            w,
            b,
            pad=pads,
            stride=strides,
            dilation=dilations,
            group=groups,
            channel_last=build.channel_last,
        )
    return y.apply(recompute=True) if build.recompute == 'convolution' else y


def relu(x: nn.Variable, build: Build) -> nn.Variable:
    """ReLU; recomputed together with batch norm."""
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu(x)


def swish(x: nn.Variable, build: Build) -> nn.Variable:
    """x * sigmoid(x), PyTorch's SiLU; recomputed together with batch norm."""
    with recompute_if(build.recompute == 'bn_relu'):
        return F.swish(x)


def sigmoid(x: nn.Variable) -> nn.Variable:
    """1 / (1 + exp(-x)), for the gates of attention: small maps, never recomputed alone."""
    return F.sigmoid(x)


def dropout(x: nn.Variable, share: float, build: Build, *, maps: bool = False) -> nn.Variable:
    """In training, zero a random ``share`` of the values, or of whole ``maps`` (PyTorch's
    Dropout2d), and scale the others up.

    The numbers are NNabla's function seed's: :func:`nnabla.random.set_function_seed` repeats them.
    """
    if not (build.train and build.dropout):
        return x
    if not maps:
        return F.dropout(x, share)
    shape = [1] * 4
    shape[0], shape[build.channel_axis] = x.shape[0], channels_of(x, build)
    return x * F.dropout(F.constant(1, shape), share)


def average_pool(
    x: nn.Variable, kernel: int, build: Build, *, stride: int | None = None, pad: int = 0
) -> nn.Variable:
    """Mean over ``kernel x kernel`` windows, zeros of the padding included; what fills no window is
    dropped. stride: by default the kernel.
    """
    stride = stride or kernel
    return F.average_pooling(
        x,
        (kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        channel_last=build.channel_last,
    )


def max_pool(x: nn.Variable, kernel: int, stride: int, build: Build) -> nn.Variable:
    """Largest of each ``kernel x kernel`` window, padded by ``kernel // 2`` so that ``H' = ceil(H /
    stride)``.
    """
    return F.max_pooling(
        x,
        (kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        channel_last=build.channel_last,
    )


def global_average_pool(x: nn.Variable, build: Build) -> nn.Variable:
    """Mean over all pixels, (N, C, H, W) -> (N, C, 1, 1)."""
    if build.channel_last:
        return F.mean(x, axis=(1, 2), keepdims=True)
    return F.global_average_pooling(x)


def adaptive_average_pool(x: nn.Variable, bins: int, build: Build) -> nn.Variable:
    """Means over ``bins x bins`` tiles, (N, C, H, W) -> (N, C, bins, bins); PyTorch's
    AdaptiveAvgPool2d: tile i reaches from floor(i H / bins) to ceil((i + 1) H / bins).

    On a GPU it is one product with a constant matrix instead of two functions for each tile.
    """
    if bins == 1:
        return global_average_pool(x, build)
    height, width = size_of(x, build)
    if build.cuda and not build.channel_last:
        shares = [_tile_shares(length, bins) for length in (height, width)]
        matrix = np.einsum('hi,wj->hwij', *shares).reshape(height * width, bins, bins)
        return F.affine(x, nn.Variable.from_numpy_array(matrix), base_axis=2)
    axes = (1, 2) if build.channel_last else (2, 3)

    def tile(i: int, j: int) -> nn.Variable:
        start, stop = [0] * 4, list(x.shape)
        for axis, index, length in zip(axes, (i, j), (height, width)):
            start[axis], stop[axis] = index * length // bins, -(-(index + 1) * length // bins)
        return F.mean(F.slice(x, start=start, stop=stop), axis=axes, keepdims=True)

    rows = [F.concatenate(*(tile(i, j) for j in range(bins)), axis=axes[1]) for i in range(bins)]
    return F.concatenate(*rows, axis=axes[0])


def _tile_shares(length: int, bins: int) -> NDArray[np.float32]:
    """What share of the mean over a tile each of ``length`` values has, (length, bins)."""
    shares = np.zeros((length, bins), np.float32)
    for i in range(bins):
        tile = slice(i * length // bins, -(-(i + 1) * length // bins))
        shares[tile, i] = 1 / (tile.stop - tile.start)
    return shares


def resize(
    x: nn.Variable, size: tuple[int, int], build: Build | None = None, how: str = 'bilinear'
) -> nn.Variable:
    """Resizing to exactly ``size = (height, width)``; without a build ``x`` is (N, C, H, W).

    how: ``bilinear``, pixel centres at half integers, as ``cv2.INTER_LINEAR`` and PyTorch's
    bilinear with ``align_corners=False``; ``bilinear_corners``, with ``align_corners=True``;
    ``nearest``, as PyTorch's.

    A map that has the size already is returned as it is: the interpolation would copy it unchanged.
    Where batch norms are synchronized it is copied, so that the order in which a backward pass
    meets them does not depend on the size of a process's images.

    Raises ``ValueError`` when several rows or columns should become one, for which NNabla takes the
    first instead of the middle.
    """
    build = build or Build()
    old = size_of(x, build)
    if old == tuple(size) and not build.synchronizes:
        return x
    if any(new == 1 < length for length, new in zip(old, size)):
        raise ValueError(f'cannot resize {old[0]}x{old[1]} to {size[0]}x{size[1]}')
    return F.interpolate(
        x, output_size=tuple(size), channel_last=build.channel_last, **RESIZING[how]
    )


def concatenate(*maps: nn.Variable, build: Build) -> nn.Variable:
    """``maps`` of one size, one behind the other along the channels."""
    return F.concatenate(*maps, axis=build.channel_axis) if len(maps) > 1 else maps[0]


def slice_channels(x: nn.Variable, start: int, stop: int, build: Build) -> nn.Variable:
    """Channels ``start`` to ``stop`` (excluded) of ``x``."""
    first, last = [0] * 4, list(x.shape)
    first[build.channel_axis], last[build.channel_axis] = start, stop
    return F.slice(x, start=first, stop=last)


def pad_channels(x: nn.Variable, count: int, build: Build) -> nn.Variable:
    """``count`` channels of zeros before those of ``x``."""
    behind = 0 if build.channel_last else 2  # axes that follow the channels
    return F.pad(x, (count, 0) + (0, 0) * behind)


def space_to_depth(x: nn.Variable, size: int, build: Build) -> nn.Variable:
    """Tiles of ``size x size`` pixels as channels, (N, C, H, W) -> (N, C * size**2, H / size, W /
    size).

    The new channels count the pixels of a tile row by row, the old channels most slowly: PyTorch's
    ``pixel_unshuffle``. Raises ``ValueError`` when tiles do not fill the map.
    """
    if size == 1:
        return x
    (height, width), channels = size_of(x, build), channels_of(x, build)
    if height % size or width % size:
        raise ValueError(f'{height}x{width} cannot be cut into tiles of {size}x{size}')
    rows, columns, depth = height // size, width // size, channels * size**2
    if build.channel_last:
        x = F.reshape(x, (x.shape[0], rows, size, columns, size, channels), inplace=False)
        x = F.transpose(x, (0, 1, 3, 5, 2, 4))
        return F.reshape(x, (x.shape[0], rows, columns, depth), inplace=False)
    x = F.reshape(x, (x.shape[0], channels, rows, size, columns, size), inplace=False)
    x = F.transpose(x, (0, 1, 3, 5, 2, 4))
    return F.reshape(x, (x.shape[0], depth, rows, columns), inplace=False)


def recomputed_block(build: Build) -> AbstractContextManager[None]:
    """A context for the inside of a block, freed and computed again under the policy ``blocks``."""
    return recompute_if(build.recompute == 'blocks')


def mean_all(x: nn.Variable) -> nn.Variable:
    """The mean of all values, shape ``(1,)``; see :func:`row_means`."""
    return row_means(F.reshape(x, (1, x.size), inplace=False))


def row_means(x: nn.Variable) -> nn.Variable:
    """The mean of each row of ``(rows, n)``, shape ``(rows,)``, in steps that every backend gets
    right.

    NNabla 1.39's reduction kernels stop with an illegal instruction on Hopper GPUs, unless each
    step reduces to many values at once. So the rows are folded, a factor of their length at a time.
    A length that has no factor up to 1024 is cut in two parts, which are averaged by their share.
    """
    rows, n = x.shape
    while n > 1:
        fold = next(f for f in range(min(LARGEST_FOLD, n), 0, -1) if n % f == 0)
        if fold == 1:
            x, head = F.reshape(x, (rows, n), inplace=False), n - n % LARGEST_FOLD
            first, rest = row_means(x[:, :head]), row_means(x[:, head:])
            return first * (head / n) + rest * (1 - head / n)
        x, n = F.mean(F.reshape(x, (rows * n // fold, fold), inplace=False), axis=1), n // fold
    return F.reshape(x, (rows,), inplace=False)
