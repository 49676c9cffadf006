"""Layers: the functions that every network is built from.

This module decides parameter names, resizing rules, the recompute policy, the memory layout and the
workarounds for broken GPU kernels; :mod:`layers.norms` does so for batch norms. No other place
does. Tensors are Variables of shape ``(N, C, H, W)``, or ``(N, H, W, C)`` in a channel_last build:
read their shape with :func:`channels_of` and :func:`size_of`.
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

__all__ = [  # names of other modules; the functions below are public too
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

# NNabla's CUDA extension computes a mean of fewer than 2048 values as a matrix-vector product,
# which works on Hopper GPUs.
MAX_FOLD = 1024


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
    """Return the number of channels, C."""
    return x.shape[build.channel_axis]


def size_of(x: nn.Variable, build: Build) -> tuple[int, int]:
    """Return the height and width, (H, W)."""
    height, width = x.shape[1:3] if build.channel_last else x.shape[2:]
    return height, width


def to_layout(x: nn.Variable, build: Build) -> nn.Variable:
    """Convert ``(N, C, H, W)`` to the layout of the build."""
    return F.transpose(x, (0, 2, 3, 1)) if build.channel_last else x


def from_layout(x: nn.Variable, build: Build) -> nn.Variable:
    """Convert the layout of the build to ``(N, C, H, W)``."""
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
    """Apply a square convolution.

    (N, C, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)) with the default padding. If
    the groups are as many as the input and output channels, this is a depthwise convolution.
    NNabla's own function for that is used on the CPU only, because it is broken on Hopper GPUs.
    Parameters: ``<name>/conv/W (channels, C / groups, kernel, kernel)`` and ``<name>/conv/b
    (channels,)``.

    Args:
        x: (N, C, H, W) input map.
        channels: Number of output channels.
        kernel: Kernel size.
        name: Scope of the parameters.
        build: Settings of the build.
        stride: Stride.
        dilation: Dilation.
        groups: Number of groups.
        pad: Padding; by default the one that keeps the size at stride 1.
        bias: Add a bias.
        initializer: Initial weights; by default Glorot's uniform distribution.
        bias_initializer: Initial biases; by default zero.
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
    """Apply ReLU; the policy ``bn_relu`` recomputes it."""
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu(x)


def swish(x: nn.Variable, build: Build) -> nn.Variable:
    """Apply x * sigmoid(x), PyTorch's SiLU; the policy ``bn_relu`` recomputes it."""
    with recompute_if(build.recompute == 'bn_relu'):
        return F.swish(x)


def sigmoid(x: nn.Variable) -> nn.Variable:
    """Apply 1 / (1 + exp(-x)), for attention gates: small maps that are never recomputed alone."""
    return F.sigmoid(x)


def dropout(x: nn.Variable, share: float, build: Build, *, maps: bool = False) -> nn.Variable:
    """In training, zero a random share of the values and scale the others up.

    :func:`nnabla.random.set_function_seed` makes the random numbers repeatable.

    Args:
        x: (N, C, H, W) input map.
        share: Probability of zeroing a value.
        build: Settings of the build.
        maps: Zero whole channels instead of single values, as PyTorch's Dropout2d.
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
    """Average ``kernel x kernel`` windows, including the zeros of the padding.

    Incomplete windows are dropped.

    Args:
        x: (N, C, H, W) input map.
        kernel: Window size.
        build: Settings of the build.
        stride: Stride; by default the window size.
        pad: Padding.
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
    """Take the maximum of each ``kernel x kernel`` window.

    The padding is ``kernel // 2``, so that the output height is ``ceil(H / stride)`` for an odd
    kernel.

    Args:
        x: (N, C, H, W) input map.
        kernel: Window size.
        stride: Stride.
        build: Settings of the build.
    """
    return F.max_pooling(
        x,
        (kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        channel_last=build.channel_last,
    )


def global_average_pool(x: nn.Variable, build: Build) -> nn.Variable:
    """Average all pixels, (N, C, H, W) -> (N, C, 1, 1)."""
    if build.channel_last:
        return F.mean(x, axis=(1, 2), keepdims=True)
    return F.global_average_pooling(x)


def adaptive_average_pool(x: nn.Variable, bins: int, build: Build) -> nn.Variable:
    """Average ``bins x bins`` tiles, (N, C, H, W) -> (N, C, bins, bins).

    The tiles are those of PyTorch's AdaptiveAvgPool2d: tile i extends from floor(i H / bins) to
    ceil((i + 1) H / bins). On a GPU in (N, C, H, W), this is one product with a constant matrix
    instead of two functions per tile.
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
    """Return the weight of each of ``length`` values in the mean of each tile, (length, bins)."""
    shares = np.zeros((length, bins), np.float32)
    for i in range(bins):
        tile = slice(i * length // bins, -(-(i + 1) * length // bins))
        shares[tile, i] = 1 / (tile.stop - tile.start)
    return shares


def resize(
    x: nn.Variable, size: tuple[int, int], build: Build | None = None, how: str = 'bilinear'
) -> nn.Variable:
    """Resize a map to exactly ``size``.

    A map that has the size already is returned unchanged, because interpolation would only copy it.
    In a build with synchronized batch norms, such a map is copied nevertheless: the order in which
    a backward pass reaches the batch norms must not depend on the size of a process's images.

    Args:
        x: Input map; (N, C, H, W) without a build.
        size: Output height and width.
        build: Settings of the build.
        how: ``bilinear``: pixel centres at half integers, as ``cv2.INTER_LINEAR`` and PyTorch's
            bilinear with ``align_corners=False``; ``bilinear_corners``: as with
            ``align_corners=True``; ``nearest``: as PyTorch's.

    Raises:
        ValueError: Several rows or columns would become one; NNabla then takes the first instead of
            the middle.
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
    """Concatenate maps of one size along the channels."""
    return F.concatenate(*maps, axis=build.channel_axis) if len(maps) > 1 else maps[0]


def slice_channels(x: nn.Variable, start: int, stop: int, build: Build) -> nn.Variable:
    """Return a range of channels, (N, C, H, W) -> (N, stop - start, H, W).

    Args:
        x: (N, C, H, W) input map.
        start: First channel of the range.
        stop: First channel after the range.
        build: Settings of the build.
    """
    first, last = [0] * 4, list(x.shape)
    first[build.channel_axis], last[build.channel_axis] = start, stop
    return F.slice(x, start=first, stop=last)


def pad_channels(x: nn.Variable, count: int, build: Build) -> nn.Variable:
    """Insert ``count`` channels of zeros before those of ``x``."""
    behind = 0 if build.channel_last else 2  # number of axes after the channels
    return F.pad(x, (count, 0) + (0, 0) * behind)


def space_to_depth(x: nn.Variable, size: int, build: Build) -> nn.Variable:
    """Move tiles of ``size x size`` pixels into channels, as PyTorch's ``pixel_unshuffle``.

    (N, C, H, W) -> (N, C * size**2, H / size, W / size). The new channels are ordered by old
    channel, then row and column in the tile.

    Raises:
        ValueError: Tiles do not fill the map.
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
    """Return a context for the inside of a block, which the policy ``blocks`` recomputes."""
    return recompute_if(build.recompute == 'blocks')


def mean_all(x: nn.Variable) -> nn.Variable:
    """Return the mean of all values, shape ``(1,)``; see :func:`row_means`."""
    return row_means(F.reshape(x, (1, x.size), inplace=False))


def row_means(x: nn.Variable) -> nn.Variable:
    """Return the mean of each row, (rows, n) -> (rows,), in steps that work on every backend.

    NNabla 1.39's reduction kernels stop with an illegal instruction on Hopper GPUs if a mean has
    2048 or more values. So the rows are folded by one factor of their length at a time. A length
    without a factor up to 1024 is cut into two parts, whose means are weighted by their share.
    """
    rows, n = x.shape
    while n > 1:
        fold = next(f for f in range(min(MAX_FOLD, n), 0, -1) if n % f == 0)
        if fold == 1:
            x, head = F.reshape(x, (rows, n), inplace=False), n - n % MAX_FOLD
            first, rest = row_means(x[:, :head]), row_means(x[:, head:])
            return first * (head / n) + rest * (1 - head / n)
        x, n = F.mean(F.reshape(x, (rows * n // fold, fold), inplace=False), axis=1), n // fold
    return F.reshape(x, (rows,), inplace=False)
