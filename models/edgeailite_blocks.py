"""Blocks of the EdgeAI-Lite encoders and decoders.

Reference: TexasInstruments/edgeai-modeloptimization, commit
6f4732f4371dac78b23c4fe36dd12692ac18cb54, torchmodelopt/edgeai_torchmodelopt/xnn/layers,
conv_blocks.py (ConvNormAct2d, ConvDWSepNormAct2d) and rf_blocks.py (DWASPPLiteBlock). Weights start
as in TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/pixel2pixel/pixel2pixelnet.py: convolutions from
He's normal distribution with fan-out, gammas of batch norms at 1 - 1e-5.

No convolution has a bias. ``norm`` is :func:`layers.functions.bn_relu` or, in networks of
width 1.4, :func:`layers.functions.bn_relu6`.
"""

from functools import partial

import nnabla as nn

from layers import functions as L
from layers.initializers import kaiming_normal

INITIAL_GAMMA = 1 - 1e-5  # initial gamma of all batch norms
DROPOUT = 0.2  # share of the maps dropped before the last convolution of the ASPP

linear_norm = L.batch_norm  # the batch norm of layers without activation


def convolution(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Variable:
    """Apply a convolution without bias that keeps the size at stride 1.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of the convolution.
        build: Options of the build.
        stride: Stride.
        dilation: Dilation.
        groups: Number of groups.
    """
    return L.convolution(
        x,
        channels,
        kernel,
        name,
        build,
        stride=stride,
        dilation=dilation,
        groups=groups,
        bias=False,
        initializer=kaiming_normal,
    )


def conv_bn(
    x: nn.Variable,
    channels: int,
    kernel: int,
    names: tuple[str, str],
    build: L.Build,
    norm: L.Norm = L.bn_relu,
    **options: int,
) -> nn.Variable:
    """Apply convolution, batch norm and activation.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        names: Scopes of convolution and batch norm.
        build: Options of the build.
        norm: Batch norm, with an activation or without.
        **options: Stride, dilation and groups of the convolution.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    x = convolution(x, channels, kernel, names[0], build, **options)
    return norm(x, names[1], build, gamma=INITIAL_GAMMA)


def conv_bn_sequence(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    norm: L.Norm = L.bn_relu,
    **options: int,
) -> nn.Variable:
    """Apply :func:`conv_bn` with the names of a PyTorch Sequential.

    Args:
        x: See :func:`conv_bn`.
        channels: See :func:`conv_bn`.
        kernel: See :func:`conv_bn`.
        name: Name of the Sequential: the scopes are ``<name>/0`` and ``<name>/1``.
        build: See :func:`conv_bn`.
        norm: See :func:`conv_bn`.
        **options: See :func:`conv_bn`.
    """
    return conv_bn(x, channels, kernel, (f'{name}/0', f'{name}/1'), build, norm, **options)


def group_count(channels: int, group_size: int | None) -> int:
    """Return the number of groups of a grouped convolution.

    Args:
        channels: Input channels.
        group_size: Minimum number of channels of a group; None for a depthwise convolution.

    Returns:
        ``channels`` for None, else ``channels // group_size``.

    Raises:
        ValueError: The channels do not split evenly into this number of groups.
    """
    groups = channels if group_size is None else channels // group_size
    if groups == 0 or channels % groups:
        raise ValueError(f'{channels} channels do not split into {groups} groups')
    return groups


def widened_group_size(channels: int, group_size: int | None) -> int | None:
    """Return the width of a group, at least ``group_size``, into which channels split evenly.

    Wherever :func:`group_count` accepts the channels, it returns the same number of groups for
    both. If no width divides the channels, they are one group.

    Args:
        channels: Input channels.
        group_size: See :func:`group_count`.
    """
    if group_size is None:
        return None
    return next((n for n in range(group_size, channels) if channels % n == 0), channels)


def separable(
    x: nn.Variable,
    channels: int,
    name: str,
    build: L.Build,
    norm: L.Norm,
    group_size: int | None,
    **options: int,
) -> nn.Variable:
    """Apply a grouped 3x3 and a 1x1 convolution, each with batch norm and activation.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        name: Scope of the block.
        build: Options of the build.
        norm: Batch norm with activation.
        group_size: See :func:`group_count`.
        **options: Stride and dilation of the 3x3 convolution.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    inputs = L.channels_of(x, build)
    with L.recomputed_block(build):
        groups = group_count(inputs, group_size)
        x = conv_bn_sequence(x, inputs, 3, f'{name}/0', build, norm, groups=groups, **options)
        x = convolution(x, channels, 1, f'{name}/1/0', build)
    return norm(x, f'{name}/1/1', build, gamma=INITIAL_GAMMA)


def aspp(
    x: nn.Variable,
    width: int,
    channels: int,
    dilations: tuple[int, ...],
    name: str,
    build: L.Build,
    norm: L.Norm,
    group_size: int | None,
) -> nn.Variable:
    """Apply atrous spatial pyramid pooling, without a branch for the whole image.

    The branches are a 1x1 convolution and dilated separable convolutions. In training, a fifth of
    their maps is dropped.

    Args:
        x: (N, C, H, W).
        width: Channels of a branch.
        channels: Output channels.
        dilations: Dilations of the separable convolutions.
        name: Scope of the block.
        build: Options of the build.
        norm: Batch norm with activation.
        group_size: See :func:`group_count`.

    Returns:
        (N, channels, H, W).
    """
    with L.scope(name):
        with L.recomputed_block(build):
            branch = partial(separable, x, width, build=build, norm=norm, group_size=group_size)
            branches = [conv_bn_sequence(x, width, 1, 'conv1x1', build, norm)]
            branches += [
                branch(name=f'aspp_bra{i}', dilation=dilation)
                for i, dilation in enumerate(dilations, 1)
            ]
            x = L.dropout(L.concatenate(*branches, build=build), DROPOUT, build, maps=True)
            x = convolution(x, channels, 1, 'aspp_out/0', build)
        return norm(x, 'aspp_out/1', build, gamma=INITIAL_GAMMA)


def prediction(
    x: nn.Variable, channels: int, name: str, build: L.Build, group_size: int | None
) -> nn.Variable:
    """Compute logits or depth: (N, C, H, W) -> (N, channels, H, W).

    The layers are a grouped 3x3 convolution with batch norm, but without activation, and a 1x1
    convolution.

    Args:
        x: (N, C, H, W).
        channels: Number of classes; 1 for depth.
        name: Scope of the layers.
        build: Options of the build.
        group_size: See :func:`group_count`.
    """
    inputs = L.channels_of(x, build)
    groups = group_count(inputs, group_size)
    with L.recomputed_block(build):
        x = conv_bn_sequence(x, inputs, 3, f'{name}/0', build, linear_norm, groups=groups)
    return convolution(x, channels, 1, f'{name}/1/0', build)
