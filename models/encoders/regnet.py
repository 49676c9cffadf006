"""RegNetX as an encoder: residual bottlenecks with grouped convolutions of one group width.

Radosavovic, Kosaraju, Girshick, He, Dollar, "Designing network design spaces", CVPR 2020,
arXiv:2003.13678. Reference: TexasInstruments/edgeai-torchvision, commit
f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/regnet.py. Parameter names are pycls's.

Differs from the original: there is no classifier, which its segmentation networks leave out as
well, and no dilation, which none of them uses.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import TypedDict

import nnabla as nn

from layers import functions as L
from models.edgeailite_blocks import INITIAL_GAMMA, conv_bn, convolution, group_count, linear_norm
from models.encoders.streams import Stage

PAPER = 'Radosavovic et al., CVPR 2020, arXiv:2003.13678'

SCOPES = ('stem', 's1', 's2', 's3', 's4')
# In the streams of several inputs, the original counts stem and stages.
STREAM_SCOPES = ('0', '1', '2', '3', '4')


class RegNetVariant(TypedDict):
    """Arguments of :func:`stages` for one size of RegNetX."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    group_width: int


VARIANTS: dict[
    str, RegNetVariant
] = {  # channels of the stem and of the four stages, blocks of the stages
    'regnetx400mf': {'widths': (32, 32, 64, 160, 384), 'depths': (1, 2, 7, 12), 'group_width': 16},
    'regnetx800mf': {'widths': (32, 64, 128, 288, 672), 'depths': (1, 3, 7, 5), 'group_width': 16},
    'regnetx1p6gf': {'widths': (32, 72, 168, 408, 912), 'depths': (2, 4, 10, 2), 'group_width': 24},
    'regnetx3p2gf': {
        'widths': (32, 96, 192, 432, 1008),
        'depths': (2, 6, 15, 2),
        'group_width': 48,
    },
}


def _pycls_block(match: re.Match[str]) -> str:
    """Return pycls's prefix of a block, counted from 1, for torchvision's, counted from 0."""
    return f's{match[1]}.b{int(match[2]) + 1}.'


# Replacements that turn torchvision's parameter names into pycls's. In torchvision's names, a
# convolution and its batch norm are a Sequential.
TORCHVISION_NAMES = (
    (r'^stem\.0\.', 'stem.conv.'),
    (r'^stem\.1\.', 'stem.bn.'),
    (r'^trunk_output\.block(\d+)\.block\d+-(\d+)\.', _pycls_block),
    (r'\.f\.([abc])\.0\.', r'.f.\1.'),
    (r'\.f\.([abc])\.1\.', r'.f.\1_bn.'),
    (r'\.proj\.0\.', '.proj.'),
    (r'\.proj\.1\.', '.bn.'),
)


def bottleneck(
    x: nn.Variable, channels: int, stride: int, group_width: int, build: L.Build
) -> nn.Variable:
    """Apply a residual bottleneck: (N, C, H, W) -> (N, channels, H / stride, W / stride).

    The block consists of a 1x1, a grouped 3x3 and a 1x1 convolution, and a shortcut, with a
    projection if input and output differ in shape.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        stride: Stride of the 3x3 convolution.
        group_width: Channels of a group of the 3x3 convolution.
        build: Options of the build.
    """
    shortcut, groups = x, group_count(channels, group_width)
    with L.recomputed_block(build):
        with L.scope('f'):
            y = conv_bn(x, channels, 1, ('a', 'a_bn'), build)
            y = conv_bn(y, channels, 3, ('b', 'b_bn'), build, stride=stride, groups=groups)
            y = convolution(y, channels, 1, 'c', build)
        if stride > 1 or L.channels_of(x, build) != channels:
            shortcut = conv_bn(x, channels, 1, ('proj', 'bn'), build, linear_norm, stride=stride)
    with L.scope('f'):
        return L.bn_add_relu(y, shortcut, 'c_bn', build, gamma=INITIAL_GAMMA)


def stages(
    *,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    group_width: int,
    last_stride: int = 2,
    fast_down: bool = False,
    scopes: Sequence[str] = SCOPES,
) -> list[Stage]:
    """Return the stem and the four stages.

    Args:
        widths: Channels of the stem and of the four stages.
        depths: Number of blocks of the four stages.
        group_width: Channels of a group of the grouped convolutions.
        last_stride: Stride of the last stage; 1 keeps the last map at 1/16.
        fast_down: Whether the stem ends with a max pooling, which halves every map.
        scopes: Names of the stem and of the stages.

    Returns:
        Five stages. From a normalised image, (N, 3, H, W), they lead to maps at 1/2, 1/4, 1/8, 1/16
        and 1/32 of its size, with ``widths`` channels.
    """
    stem, *names = scopes
    result: list[Stage] = [partial(_stem, channels=widths[0], scope=stem, fast_down=fast_down)]
    strides = 2, 2, 2, last_stride
    for scope, channels, blocks, stride in zip(names, widths[1:], depths, strides):
        of_blocks = [stride] + [1] * (blocks - 1)
        stage = partial(
            _stage, channels=channels, strides=of_blocks, group_width=group_width, scope=scope
        )
        result.append(stage)
    return result


def _stem(
    x: nn.Variable, build: L.Build, *, channels: int, scope: str, fast_down: bool
) -> nn.Variable:
    """Apply the stem: (N, 3, H, W) -> (N, channels, H / 2, W / 2), or H / 4 with fast_down."""
    with L.scope(scope):
        x = conv_bn(x, channels, 3, ('conv', 'bn'), build, stride=2)
        return L.max_pool(x, 3, 2, build) if fast_down else x


def _stage(
    x: nn.Variable,
    build: L.Build,
    *,
    channels: int,
    strides: Sequence[int],
    group_width: int,
    scope: str,
) -> nn.Variable:
    """Apply the bottlenecks of one stage, one for each of ``strides``."""
    for block, stride in enumerate(strides, 1):
        with L.scope(scope), L.scope(f'b{block}'):
            x = bottleneck(x, channels, stride, group_width, build)
    return x
