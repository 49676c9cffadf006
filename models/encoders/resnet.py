"""ResNet encoders with a stem of three convolutions, plain and dilated.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385;
dilated as in Yu, Koltun, Funkhouser, "Dilated residual networks", CVPR 2017, arXiv:1705.09914.
Reference: CSAILVision/semantic-segmentation-pytorch, commit
8f27c9b97d2ca7c6e05333d5766d144bf7d8c31b, mit_semseg/models/resnet.py, mit_semseg/models/models.py
(Resnet, ResnetDilated) and mit_semseg/lib/nn/modules/batchnorm.py.

Initial weights are those of the reference's constructor: He's normal distribution with fan-out. The
reference then loads weights trained on ImageNet.

Differs from the original: batch norm is PyTorch's with any number of processes. With several
processes, the original uses its own, which replaces a variance below eps by eps instead of adding
eps, and whose running average counts the initial mean 0 and variance 1 as much as one batch.
"""

import math
from collections.abc import Callable
from itertools import product
from typing import TypeAlias, TypedDict

import nnabla as nn

from layers import functions as L
from layers.initializers import kaiming_normal

# A function of input, width, build, stride and dilations. It returns the output and the name of the
# batch norm that the caller applies to it.
Residual: TypeAlias = Callable[
    [nn.Variable, int, L.Build, int, tuple[int, int]], tuple[nn.Variable, str]
]

DECAY_RATE = 0.999  # decay rate of all batch norms of the family: 1 - PyTorch's momentum
STEM_STRIDE = 4
STAGE_WIDTHS = (64, 128, 256, 512)  # channels of the stages' 3x3 convolutions


def resnet(
    x: nn.Variable,
    build: L.Build,
    *,
    residual: Residual,
    blocks: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> list[nn.Variable]:
    """Compute the outputs of the four stages.

    ``blocks``, ``strides`` and ``dilations`` have one value for each stage.

    Args:
        x: Normalised image, (N, 3, H, W).
        build: Options of the build.
        residual: :func:`basic_residual` or :func:`bottleneck_residual`.
        blocks: Number of blocks.
        strides: Stride of the first block.
        dilations: Dilation of the 3x3 convolutions. The strided convolution of a stage's first
            block has half this dilation, but at least 1, even if its stride is 1.

    Returns:
        [(N, C, h, w), ...], the first at 1/4 of the input's size, rounded up.
    """
    for i, (channels, stride) in enumerate([(64, 2), (64, 1), (128, 1)], 1):
        x = convolution_bn(x, channels, 3, f'conv{i}', f'bn{i}', build, stride=stride)
    x, features = L.max_pool(x, 3, 2, build), []
    stages = zip(STAGE_WIDTHS, blocks, strides, dilations)
    for stage, (width, count, stride, dilation) in enumerate(stages, 1):
        for i in range(count):
            with L.scope(f'layer{stage}/{i}'):
                if i == 0:
                    first = max(1, dilation // 2)
                    x = residual_block(x, width, residual, build, stride, (first, dilation))
                else:
                    x = residual_block(x, width, residual, build, 1, (dilation, dilation))
        features.append(x)
    return features


def residual_block(
    x: nn.Variable,
    width: int,
    residual: Residual,
    build: L.Build,
    stride: int,
    dilations: tuple[int, int],
) -> nn.Variable:
    """Apply a residual branch and a shortcut.

    The shortcut is a projection if the channels differ, as in the first block of every stage.

    Args:
        x: (N, C, H, W).
        width: Channels of the 3x3 convolutions.
        residual: :func:`basic_residual` or :func:`bottleneck_residual`.
        build: Options of the build.
        stride: Stride of the block.
        dilations: Dilations of the 3x3 convolutions; a bottleneck has one and uses the first.
    """
    with L.recomputed_block(build):
        y, last_norm = residual(x, width, build, stride, dilations)
        channels = L.channels_of(y, build)
        if channels != L.channels_of(x, build):
            with L.scope('downsample'):
                x = convolution_bn(x, channels, 1, '0', '1', build, stride=stride, relu=False)
    return L.bn_add_relu(y, x, last_norm, build, decay_rate=DECAY_RATE)


def basic_residual(
    x: nn.Variable, width: int, build: L.Build, stride: int, dilations: tuple[int, int]
) -> tuple[nn.Variable, str]:
    """Apply two 3x3 convolutions, each with its dilation; the first one has the stride.

    Args:
        x: (N, C, H, W).
        width: Channels of the 3x3 convolutions.
        build: Options of the build.
        stride: Stride of the first convolution.
        dilations: Dilations of the two convolutions.

    Returns:
        (N, width, H', W'), and the name of the batch norm that the caller applies to it.
    """
    x = convolution_bn(x, width, 3, 'conv1', 'bn1', build, stride=stride, dilation=dilations[0])
    return convolution(x, width, 3, 'conv2', build, dilation=dilations[1]), 'bn2'


def bottleneck_residual(
    x: nn.Variable, width: int, build: L.Build, stride: int, dilations: tuple[int, int]
) -> tuple[nn.Variable, str]:
    """Apply a 1x1, a 3x3 and a 1x1 convolution; the 3x3 one has the stride and the first dilation.

    Args:
        x: (N, C, H, W).
        width: Channels of the 3x3 convolutions.
        build: Options of the build.
        stride: Stride of the 3x3 convolution.
        dilations: Dilations, of which the first is used.

    Returns:
        (N, 4 * width, H', W'), and the name of the batch norm that the caller applies to it.
    """
    x = convolution_bn(x, width, 1, 'conv1', 'bn1', build)
    x = convolution_bn(x, width, 3, 'conv2', 'bn2', build, stride=stride, dilation=dilations[0])
    return convolution(x, 4 * width, 1, 'conv3', build), 'bn3'


def convolution_bn(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    norm: str,
    build: L.Build,
    *,
    relu: bool = True,
    **options: int,
) -> nn.Variable:
    """Apply :func:`convolution`, batch norm and, by default, ReLU.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Height and width of the kernel.
        name: Scope of the convolution.
        norm: Scope of the batch norm.
        build: Options of the build.
        relu: Whether a ReLU follows.
        **options: Stride and dilation.
    """
    x = convolution(x, channels, kernel, name, build, **options)
    return (L.bn_relu if relu else L.batch_norm)(x, norm, build, decay_rate=DECAY_RATE)


def convolution(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    *,
    stride: int = 1,
    dilation: int = 1,
) -> nn.Variable:
    """Apply a convolution without bias, with the reference's initial values.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of the convolution.
        build: Options of the build.
        stride: Stride.
        dilation: Dilation.
    """
    return L.convolution(
        x,
        channels,
        kernel,
        name,
        build,
        stride=stride,
        dilation=dilation,
        bias=False,
        initializer=kaiming_normal,
    )


class DepthArguments(TypedDict):
    """Arguments of :func:`resnet` that depend on its depth."""

    residual: Residual
    blocks: tuple[int, ...]


class DilationArguments(TypedDict):
    """Arguments of :func:`resnet` that determine the sizes of its maps."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]


class ResNetArguments(DepthArguments, DilationArguments):
    """Arguments of :func:`resnet` for one encoder."""


DEPTHS: dict[str, DepthArguments] = {
    'resnet18': {'residual': basic_residual, 'blocks': (2, 2, 2, 2)},
    'resnet50': {'residual': bottleneck_residual, 'blocks': (3, 4, 6, 3)},
    'resnet101': {'residual': bottleneck_residual, 'blocks': (3, 4, 23, 3)},
}
DILATIONS: dict[str, DilationArguments] = {  # suffix of an encoder's name -> arguments
    '': {'strides': (1, 2, 2, 2), 'dilations': (1, 1, 1, 1)},
    'dilated8': {'strides': (1, 2, 1, 1), 'dilations': (1, 1, 2, 4)},
    'dilated16': {'strides': (1, 2, 2, 1), 'dilations': (1, 1, 1, 2)},
}
ENCODERS: dict[str, ResNetArguments] = {
    depth + dilation: {**DEPTHS[depth], **DILATIONS[dilation]}
    for depth, dilation in product(DEPTHS, DILATIONS)
}


def output_stride(encoder: str) -> int:
    """Return the stride of an encoder's last map: its size is ceil(input size / stride)."""
    return STEM_STRIDE * math.prod(ENCODERS[encoder]['strides'])
