"""EfficientNet-B1 as an encoder.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019,
arXiv:1905.11946. Reference: timm 0.4.12 (rwightman/pytorch-image-models), efficientnet_b1 in
timm/models/efficientnet.py, with timm/models/efficientnet_blocks.py and efficientnet_builder.py:
not the variant with TensorFlow's padding and batch norms.

Initial values are timm's: weights from a normal distribution with variance 2 / (kernel**2 *
output channels of a group), biases 0.

Differs from the original: no layers after the last block, which timm does not need for features
either; no drop path, which timm switches off by default.
"""

import math

import nnabla as nn
import nnabla.initializer as I

from layers import functions as L

STEM_CHANNELS = 32
EXPANSION = 6
REDUCTION = 4  # channels of a block's input / channels inside squeeze and excitation
# kernel, stride, channels, number of blocks
BLOCKS = (
    (3, 1, 16, 2),
    (3, 2, 24, 3),
    (5, 2, 40, 3),
    (3, 2, 80, 4),
    (5, 1, 112, 4),
    (5, 2, 192, 5),
    (3, 1, 320, 2),
)
STAGES = ((1,), (2,), (3, 4), (5, 6))  # rows of BLOCKS with the same resolution


def stem(x: nn.Variable, build: L.Build) -> nn.Variable:
    """Apply the stem and the first row of blocks: (N, 3, H, W) -> (N, 16, H / 2, W / 2)."""
    x = _convolution(x, STEM_CHANNELS, 3, 'conv_stem', build, stride=2)
    return _row(L.swish(L.batch_norm(x, 'bn1', build), build), 0, build)


def stage(x: nn.Variable, number: int, build: L.Build) -> nn.Variable:
    """Apply one of the stages 1 to 4.

    (N, C, H, W) -> (N, C', H / 2, W / 2); C' is 24, 40, 112 or 320.
    """
    for row in STAGES[number - 1]:
        x = _row(x, row, build)
    return x


def _row(x: nn.Variable, row: int, build: L.Build) -> nn.Variable:
    """Apply the blocks of one row of BLOCKS."""
    kernel, stride, channels, count = BLOCKS[row]
    for i in range(count):
        with L.scope(f'blocks/{row}/{i}'):
            x = block(x, channels, kernel, build, stride=1 if i else stride, expand=row > 0)
    return x


def block(
    x: nn.Variable, channels: int, kernel: int, build: L.Build, *, stride: int, expand: bool
) -> nn.Variable:
    """Apply an inverted residual (MBConv) block.

    The block consists of a 1x1 expansion, a depthwise convolution, squeeze and excitation, a 1x1
    projection, and a shortcut if input and output have the same shape.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size of the depthwise convolution.
        build: Options of the build.
        stride: Stride of the depthwise convolution.
        expand: Whether the block has the 1x1 expansion. Without it, timm names the layers
            differently.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    inputs = L.channels_of(x, build)
    names = iter(('bn1', 'bn2', 'bn3'))
    with L.recomputed_block(build):
        y = x
        if expand:
            y = _convolution(y, EXPANSION * inputs, 1, 'conv_pw', build)
            y = L.swish(L.batch_norm(y, next(names), build), build)
        width = L.channels_of(y, build)
        y = _convolution(y, width, kernel, 'conv_dw', build, stride=stride, groups=width)
        y = L.swish(L.batch_norm(y, next(names), build), build)
        y = squeeze_excitation(y, inputs // REDUCTION, build)
        y = _convolution(y, channels, 1, 'conv_pwl' if expand else 'conv_pw', build)
        y = L.batch_norm(y, next(names), build)
    return y + x if stride == 1 and channels == inputs else y


def squeeze_excitation(x: nn.Variable, width: int, build: L.Build) -> nn.Variable:
    """Scale each channel by a gate computed from the means of all channels.

    ``width`` is the number of channels between the two 1x1 convolutions.
    """
    channels = L.channels_of(x, build)
    with L.scope('se'):
        gate = L.global_average_pool(x, build)
        gate = L.swish(_convolution(gate, width, 1, 'conv_reduce', build, bias=True), build)
        gate = _convolution(gate, channels, 1, 'conv_expand', build, bias=True)
    return x * L.sigmoid(gate)


def _convolution(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Variable:
    """Apply a convolution with timm's initial values."""
    normal = I.NormalInitializer(math.sqrt(2 / (kernel**2 * (channels // groups))))
    return L.convolution(
        x,
        channels,
        kernel,
        name,
        build,
        stride=stride,
        groups=groups,
        bias=bias,
        initializer=normal,
    )
