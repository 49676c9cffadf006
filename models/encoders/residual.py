"""Residual block of two 3x3 convolutions, with the parameter names of torchvision's ResNets.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385.
"""

import nnabla as nn

from layers import functions as L
from layers.initializers import default_uniform, kaiming_normal


def basic_block(
    x: nn.Variable,
    channels: int,
    name: str,
    build: L.Build,
    *,
    stride: int = 1,
    relu: bool = True,
    last_gamma: float = 1,
) -> nn.Variable:
    """Apply two 3x3 convolutions and a shortcut.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        name: Scope of the block.
        build: Options of the build.
        stride: Stride of the first convolution.
        relu: Whether a ReLU follows the sum. If not, the caller applies it.
        last_gamma: Initial gamma of the second batch norm; 0 makes a new block the identity.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    with L.scope(name):
        with L.recomputed_block(build):
            y = convolution(x, channels, 3, 'conv1', build, stride=stride)
            y = convolution(L.bn_relu(y, 'bn1', build), channels, 3, 'conv2', build)
            if not relu:
                y = L.batch_norm(y, 'bn2', build, gamma=last_gamma)
            x = shortcut(x, channels, build, stride=stride)
        return L.bn_add_relu(y, x, 'bn2', build, gamma=last_gamma) if relu else y + x


def shortcut(x: nn.Variable, channels: int, build: L.Build, *, stride: int = 1) -> nn.Variable:
    """Return ``x``, or its projection by 1x1 convolution and batch norm if the shape changes.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        build: Options of the build.
        stride: Stride of the block.
    """
    if stride == 1 and L.channels_of(x, build) == channels:
        return x
    x = convolution(x, channels, 1, 'downsample/0', build, stride=stride)
    return L.batch_norm(x, 'downsample/1', build)


def convolution(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    *,
    stride: int = 1,
    bias: bool = False,
) -> nn.Variable:
    """Apply a convolution with the initial values of these networks.

    Weights follow He's normal distribution with fan-out, biases PyTorch's default.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of the convolution.
        build: Options of the build.
        stride: Stride.
        bias: Whether to add a bias.
    """
    return L.convolution(
        x,
        channels,
        kernel,
        name,
        build,
        stride=stride,
        bias=bias,
        initializer=kaiming_normal,
        bias_initializer=default_uniform(L.channels_of(x, build), kernel),
    )
