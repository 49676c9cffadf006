"""MobileNetV2 as an encoder: inverted residuals with linear bottlenecks.

Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted residuals and linear bottlenecks",
CVPR 2018, arXiv:1801.04381; with fast downsampling as in Qin, Zhang, Chen, Peng, "FD-MobileNet:
Improved MobileNet with a fast downsampling strategy", arXiv:1802.03750. Reference:
TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/mobilenetv2.py. Parameter names are those of
torchvision.

The activation is ReLU instead of the paper's ReLU6, except in the networks of width 1.4.

Differs from the original: there is no last convolution and no classifier, which its segmentation
networks leave out as well; there are no options for other kernel sizes, expansions and linear
depthwise convolutions, which none of them uses.
"""

import re
from collections.abc import Sequence
from functools import partial

import nnabla as nn

from layers import functions as L
from models.edgeailite_blocks import (
    INITIAL_GAMMA,
    conv_bn,
    conv_bn_sequence,
    convolution,
    linear_norm,
)
from models.encoders.streams import Stage
from models.family import Renaming

PAPER = 'Sandler et al., CVPR 2018, arXiv:1801.04381'
STEM_CHANNELS = 32
STAGES = (  # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# timm's layers of an inverted residual with and without an expansion -> torchvision's.
TIMM_LAYERS = {
    'conv_pw': '0.0', 'bn1': '0.1', 'conv_dw': '1.0', 'bn2': '1.1', 'conv_pwl': '2', 'bn3': '3',
}  # fmt: skip
TIMM_LAYERS_WITHOUT_EXPANSION = {'conv_dw': '0.0', 'bn1': '0.1', 'conv_pw': '1', 'bn2': '2'}
MAP_CHANNELS = (16, 24, 32, 96, 320)  # channels of the last stage of each resolution


def _timm_layer(match: re.Match[str]) -> str:
    """Return torchvision's prefix of a layer for timm's, which counts the blocks of each stage."""
    stage, block, layer = int(match[1]), int(match[2]), match[3]
    if stage >= len(STAGES) or block >= STAGES[stage][2]:
        return match[0]  # a name of another network
    layers = TIMM_LAYERS if STAGES[stage][0] > 1 else TIMM_LAYERS_WITHOUT_EXPANSION
    number = 1 + sum(blocks for _, _, blocks, _ in STAGES[:stage]) + block
    return f'{number}.conv.{layers[layer]}.' if layer in layers else match[0]


# Replacements that turn timm's parameter names (mobilenetv2_100 and mobilenetv2_140 in
# timm/models/efficientnet.py of huggingface/pytorch-image-models) into torchvision's.
TIMM_NAMES: Renaming = (
    (r'^conv_stem\.', '0.0.'),
    (r'^bn1\.', '0.1.'),
    (r'^blocks\.(\d{1,2})\.(\d{1,2})\.(\w+)\.', _timm_layer),
)


def scale_channels(channels: int, width: float) -> int:
    """Return ``channels * width`` rounded to a multiple of 8, reduced by at most a tenth."""
    value = channels * width
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def map_channels(width: float) -> tuple[int, ...]:
    """Return the channels of the maps of :func:`stages`."""
    return tuple(scale_channels(channels, width) for channels in MAP_CHANNELS)


def inverted_residual(
    x: nn.Variable, channels: int, expansion: int, stride: int, build: L.Build, norm: L.Norm
) -> nn.Variable:
    """Apply an inverted residual: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    The block consists of a 1x1 expansion, a depthwise 3x3 convolution, a 1x1 projection without
    activation, and a shortcut if input and output have the same shape.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        expansion: Channels inside the block / input channels; 1 leaves out the expansion.
        stride: Stride of the depthwise convolution.
        build: Options of the build.
        norm: Batch norm with activation.
    """
    inputs = L.channels_of(x, build)
    hidden, first = inputs * expansion, int(expansion > 1)
    with L.scope('conv'):
        with L.recomputed_block(build):
            y = conv_bn_sequence(x, hidden, 1, '0', build, norm) if first else x
            y = conv_bn_sequence(
                y, hidden, 3, f'{first}', build, norm, stride=stride, groups=hidden
            )
            y = convolution(y, channels, 1, f'{first + 1}', build)
        y = linear_norm(y, f'{first + 2}', build, gamma=INITIAL_GAMMA)
    return x + y if stride == 1 and inputs == channels else y


def stages(
    *,
    width: float = 1.0,
    last_stride: int = 2,
    fast_down: bool = False,
    norm: L.Norm = L.bn_relu,
) -> list[Stage]:
    """Return the encoder's stages, each of which ends with the last map of its resolution.

    Args:
        width: Multiplier for all channels.
        last_stride: Stride of the stage with 160 channels; 1 keeps the last map at 1/16, without
            dilated convolutions.
        fast_down: Whether the first stage has a stride of 2 too, which halves every map.
        norm: Batch norm with activation.

    Returns:
        Five stages. From a normalised image, (N, 3, H, W), they lead to maps at 1/2, 1/4, 1/8, 1/16
        and 1/32 of its size, with the channels of :func:`map_channels`.
    """
    result: list[Stage] = []
    first, blocks = 0, []
    for expansion, channels, count, stride in STAGES:
        stride = {16: 1 + fast_down, 160: last_stride}.get(channels, stride)
        width_of_stage = scale_channels(channels, width)
        blocks += [(width_of_stage, expansion, 1 if i else stride) for i in range(count)]
        if channels in MAP_CHANNELS:
            stem = None if result else scale_channels(STEM_CHANNELS, width)
            result.append(partial(_stage, first=first, stem=stem, blocks=tuple(blocks), norm=norm))
            first, blocks = first + len(blocks), []
    return result


def _stage(
    x: nn.Variable,
    build: L.Build,
    *,
    first: int,
    stem: int | None,
    blocks: Sequence[tuple[int, int, int]],
    norm: L.Norm,
) -> nn.Variable:
    """Apply the blocks of one stage.

    Args:
        x: (N, C, H, W).
        build: Options of the build.
        first: Number of blocks before the stage.
        stem: Channels of the stem, which belongs to the first stage; None for the others.
        blocks: Channels, expansion and stride of each block.
        norm: Batch norm with activation.
    """
    if stem is not None:
        x = conv_bn(x, stem, 3, ('0/0', '0/1'), build, norm, stride=2)
    for block, (channels, expansion, stride) in enumerate(blocks, first + 1):
        with L.scope(str(block)):
            x = inverted_residual(x, channels, expansion, stride, build, norm)
    return x
