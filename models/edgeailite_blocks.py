"""What the EdgeAI-Lite encoders and decoders are made of.

Reference: TexasInstruments/edgeai-modeloptimization, commit
6f4732f4371dac78b23c4fe36dd12692ac18cb54, torchmodelopt/edgeai_torchmodelopt/xnn/layers,
conv_blocks.py (ConvNormAct2d, ConvDWSepNormAct2d) and rf_blocks.py (DWASPPLiteBlock). Weights start
as in TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/pixel2pixel/pixel2pixelnet.py: convolutions from
a normal distribution by the number of outputs (He), scales of batch norms at 1 - 1e-5.

No convolution has a bias. ``norm`` is :func:`layers.functions.bn_relu` or, in networks of
width 1.4, :func:`layers.functions.bn_relu6`.
"""

from functools import partial

import nnabla as nn

from layers import functions as L
from layers.initializers import kaiming_normal

GAMMA = 1 - 1e-5
DROPPED = 0.2  # share of the maps that enter the last convolution of the ASPP

linear_norm = L.batch_norm  # where no activation follows


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
    """A convolution without bias that keeps the size at stride 1."""
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
    """Convolution, batch norm and, by ``norm``, an activation; ``names`` of the two layers."""
    x = convolution(x, channels, kernel, names[0], build, **options)
    return norm(x, names[1], build, gamma=GAMMA)


def unit(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    norm: L.Norm = L.bn_relu,
    **options: int,
) -> nn.Variable:
    """:func:`conv_bn` with the names that it has in PyTorch as a sequence called ``name``."""
    return conv_bn(x, channels, kernel, (f'{name}/0', f'{name}/1'), build, norm, **options)


def groups_of(channels: int, group_size: int | None) -> int:
    """Into how many groups a grouped convolution splits ``channels``: as many as channels where
    ``group_size`` is None, else ``channels // group_size``, so that groups may be larger than
    named. Raises ``ValueError`` when the channels do not split evenly.
    """
    groups = channels if group_size is None else channels // group_size
    if groups == 0 or channels % groups:
        raise ValueError(f'{channels} channels do not split into {groups} groups')
    return groups


def separable(
    x: nn.Variable,
    channels: int,
    name: str,
    build: L.Build,
    norm: L.Norm,
    group_size: int | None,
    **options: int,
) -> nn.Variable:
    """A 3x3 convolution in groups and a 1x1 one, each with batch norm and activation; (N, C, H, W)
    -> (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    inputs = L.channels_of(x, build)
    with L.recomputed_block(build):
        groups = groups_of(inputs, group_size)
        x = unit(x, inputs, 3, f'{name}/0', build, norm, groups=groups, **options)
        x = convolution(x, channels, 1, f'{name}/1/0', build)
    return norm(x, f'{name}/1/1', build, gamma=GAMMA)


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
    """Atrous spatial pyramid pooling of 1x1 and dilated separable convolutions, without a branch of
    the whole image; (N, C, H, W) -> (N, channels, H, W).

    width: channels of a branch. In training a fifth of the maps is dropped.
    """
    with L.scope(name):
        with L.recomputed_block(build):
            branch = partial(separable, x, width, build=build, norm=norm, group_size=group_size)
            branches = [unit(x, width, 1, 'conv1x1', build, norm)]
            branches += [
                branch(name=f'aspp_bra{i}', dilation=dilation)
                for i, dilation in enumerate(dilations, 1)
            ]
            x = L.dropout(L.concatenate(*branches, build=build), DROPPED, build, maps=True)
            x = convolution(x, channels, 1, 'aspp_out/0', build)
        return norm(x, 'aspp_out/1', build, gamma=GAMMA)


def prediction(
    x: nn.Variable, num_classes: int, name: str, build: L.Build, group_size: int | None
) -> nn.Variable:
    """Logits: a 3x3 convolution in groups with batch norm and no activation, then a 1x1 one; (N, C,
    H, W) -> (N, num_classes, H, W).
    """
    inputs = L.channels_of(x, build)
    groups = groups_of(inputs, group_size)
    with L.recomputed_block(build):
        x = unit(x, inputs, 3, f'{name}/0', build, linear_norm, groups=groups)
    return convolution(x, num_classes, 1, f'{name}/1/0', build)
