"""Layers: the only callers of NNabla's parametric functions and of its interpolation.

Every network is written with these functions, so that parameter names, batch-norm semantics,
resizing rules, the recompute policy and the way around broken GPU kernels are decided once. Tensors
are ``(N, C, H, W)`` Variables.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import nnabla.parametric_functions as PF

scope = nn.parameter_scope

RECOMPUTE_POLICIES = ('none', 'bn_relu', 'convolution', 'blocks')
# A mean over fewer than 2048 values a row is a matrix-vector product in NNabla's CUDA extension.
LARGEST_FOLD = 1024


@dataclass(frozen=True)
class Build:
    """What is common to all layers of one build of a network.

    train: batch statistics that also update the running ones; otherwise the running statistics are
        used.
    recompute: which activations a training step frees and computes again in the backward pass:
        ``none``; ``bn_relu``, the outputs of batch norm and ReLU; ``convolution``, those of the
        convolutions (the published D3Net policy); ``blocks``, everything inside the blocks that a
        network marks with :func:`recomputed_block`.
    fused: one function for batch norm and ReLU. NNabla gains from it on a GPU, not on the CPU.
    """

    train: bool = False
    recompute: str = 'none'
    fused: bool = False

    def __post_init__(self):
        if self.recompute not in RECOMPUTE_POLICIES:
            raise ValueError(
                f'unknown recompute policy {self.recompute!r}; '
                f'there are {", ".join(RECOMPUTE_POLICIES)}'
            )


def gains_from_fusion() -> bool:
    """Whether the current NNabla context runs batch norm and ReLU faster as one function."""
    return any(backend.startswith('cudnn') for backend in nn.get_current_context().backend)


def convolution(
    x,
    channels: int,
    kernel: int,
    name: str,
    build: Build,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
    initializer=None,
):
    """A square convolution, (N, C, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)).

    Padded so that stride 1 keeps the size. Parameters: ``<name>/conv/W (channels, C, kernel,
    kernel)``, ``<name>/conv/b (channels,)``.
    """
    pad = dilation * (kernel // 2)
    y = PF.convolution(
        x,
        channels,
        (kernel, kernel),
        pad=(pad, pad),
        stride=(stride, stride),
        dilation=(dilation, dilation),
        with_bias=bias,
        w_init=initializer,
        name=name,
    )
    return y.apply(recompute=True) if build.recompute == 'convolution' else y


def batch_norm(x, name: str, build: Build, *, decay_rate: float = 0.9, eps: float = 1e-5):
    """Batch normalisation over N, H and W with statistics local to the process.

    ``decay_rate`` is the share of the running statistics that a step keeps: 1 - PyTorch's momentum.
    Parameters: ``<name>/bn/beta``, ``gamma``, ``mean``, ``var``, each ``(1, C, 1, 1)``.
    """
    with _recompute_if(build.recompute == 'bn_relu'):
        return PF.batch_normalization(
            x, decay_rate=decay_rate, eps=eps, batch_stat=build.train, name=name
        )


def bn_relu(x, name: str, build: Build, *, decay_rate: float = 0.9, eps: float = 1e-5):
    """:func:`batch_norm`, then ReLU; one function where ``build.fused``. Same parameters, same
    numbers.
    """
    with _recompute_if(build.recompute == 'bn_relu'):
        if build.fused:
            return PF.fused_batch_normalization(
                x, decay_rate=decay_rate, eps=eps, batch_stat=build.train, name=name
            )
        return F.relu(batch_norm(x, name, build, decay_rate=decay_rate, eps=eps))


def average_pool(x, kernel: int):
    """Mean over ``kernel x kernel`` tiles: ``(N, C, H // kernel, W // kernel)``; what fills no tile
    is dropped.
    """
    return F.average_pooling(x, (kernel, kernel))


def max_pool(x, kernel: int, stride: int):
    """Largest of each ``kernel x kernel`` window, padded by ``kernel // 2`` so that ``H' = ceil(H /
    stride)``.
    """
    return F.max_pooling(
        x, (kernel, kernel), stride=(stride, stride), pad=(kernel // 2, kernel // 2)
    )


def resize(x, size: tuple[int, int]):
    """Bilinear resizing to exactly ``size = (height, width)``, pixel centres at half integers.

    Equals ``cv2.INTER_LINEAR`` and PyTorch's bilinear with ``align_corners=False``. A map that has
    the size already is returned as it is: the interpolation would copy it unchanged. Raises
    ``ValueError`` when several rows or columns should become one, for which NNabla takes the first
    instead of the middle.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if any(new == 1 < old for old, new in zip(x.shape[2:], size)):
        raise ValueError(f'cannot resize {x.shape[2]}x{x.shape[3]} to {size[0]}x{size[1]}')
    return F.interpolate(
        x, output_size=tuple(size), mode='linear', align_corners=False, half_pixel=True
    )


def concatenate(*maps):
    """``maps`` of one size, one behind the other along the channels."""
    return F.concatenate(*maps, axis=1) if len(maps) > 1 else maps[0]


def slice_channels(x, start: int, stop: int):
    """Channels ``start`` to ``stop`` (excluded) of ``x``."""
    n, _, height, width = x.shape
    return F.slice(x, start=(0, start, 0, 0), stop=(n, stop, height, width))


def recomputed_block(build: Build):
    """A context for the inside of a block, freed and computed again under the policy ``blocks``."""
    return _recompute_if(build.recompute == 'blocks')


def mean_all(x):
    """The mean of all values, shape ``(1,)``, in steps that every backend gets right.

    NNabla 1.39's reduction kernels stop with an illegal instruction on Hopper GPUs, unless each
    step reduces to many values at once. So the array is folded, a factor of its size at a time. A
    size that has no factor up to 1024 is cut in two parts, which are averaged by their share.
    """
    x = F.reshape(x, (x.size,), inplace=False)
    while x.size > 1:
        n = x.size
        fold = next(f for f in range(min(LARGEST_FOLD, n), 0, -1) if n % f == 0)
        if fold == 1:
            head = n - n % LARGEST_FOLD
            first, rest = mean_all(x[:head]), mean_all(x[head:])
            return first * (head / n) + rest * (1 - head / n)
        x = F.mean(F.reshape(x, (n // fold, fold), inplace=False), axis=1)
    return x


def _recompute_if(condition: bool):
    return nn.recompute(True) if condition else nullcontext()
