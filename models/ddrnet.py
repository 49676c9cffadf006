"""DDRNet: deep dual-resolution networks for road scenes.

Hong, Pan, Sun and Jia, "Deep dual-resolution networks for real-time and accurate semantic
segmentation of road scenes", 2021, arXiv:2101.06085. References:

* DDRNet-23-slim and -23: chenjun2hao/DDRNet.pytorch, commit
  bc0e193e87ead839dbc715c48e6bfb059cf21b27, lib/models/ddrnet_23_slim.py and ddrnet_23.py;
* DDRNet-39: ydhongHIT/DDRNet (the authors), commit de0db317c5af4b0946231f475cf74ca4f51b8ac2,
  segmentation/DDRNet_39.py; that of the other repository cannot be run as published.

The network divides at 1/8 of the input's size into two branches: one stays at this resolution, the
other goes down to 1/64. After stages 3 and 4, and in DDRNet-39 also within stage 3, a bilateral
fusion adds each branch to the other. The hyper-parameters, in :class:`DDRNetKeys`, have the
references' names.

Initial values are the references': weights from He's normal distribution with fan-out,
biases from PyTorch's default.

Differs from the original: the logits are always [main, auxiliary], the order of ydhongHIT's; the
other repository has the main ones last. A batch norm in training that would see one value a channel
is refused, as PyTorch does; the global pooling of the DAPPM needs a batch of two or more.
"""

import re
from dataclasses import dataclass
from typing import Any

import nnabla as nn

from common.sections import Section, SectionError, config_key
from layers import functions as L
from models.encoders.residual import basic_block, convolution, shortcut
from models.family import (
    CITYSCAPES,
    IMAGENET_ENCODER,
    Family,
    Hyper,
    NetworkInfo,
    Original,
    Published,
)

PAPER = 'Hong, Pan, Sun and Jia, 2021, arXiv:2101.06085'
OUTPUT_STRIDE = 8  # size of the input / size of the logits
# Kernel and stride of the DAPPM's poolings; a global pooling follows them.
POOLINGS = ((5, 2), (9, 4), (17, 8))

# fusions: number of bilateral fusions in stage 3, which is divided into as many parts.
SIZES = {
    'ddrnet23_slim': dict(
        layers=(2, 2, 2, 2), planes=32, spp_planes=128, head_planes=64, fusions=1
    ),
    'ddrnet23': dict(layers=(2, 2, 2, 2), planes=64, spp_planes=128, head_planes=128, fusions=1),
    'ddrnet39': dict(layers=(3, 4, 6, 3), planes=64, spp_planes=128, head_planes=256, fusions=2),
}
VARIANTS = {name: dict(hyper, auxiliary=False) for name, hyper in SIZES.items()} | {
    f'{name}_aux': dict(hyper, auxiliary=True) for name, hyper in SIZES.items()
}


@dataclass(frozen=True, kw_only=True)
class DDRNetKeys(Section):
    """Hyper-parameters of DDRNet."""

    layers: tuple[int, int, int, int] | None = config_key(
        None, 'blocks of the stages 1 to 4', least=1, default_text="the variant's"
    )
    planes: int | None = config_key(
        None, 'channels of the stem', least=1, default_text="the variant's"
    )
    spp_planes: int | None = config_key(
        None,
        'channels of a branch of the deep aggregation pyramid pooling module (DAPPM)',
        least=1,
        default_text="the variant's",
    )
    head_planes: int | None = config_key(
        None, 'channels inside the heads', least=1, default_text="the variant's"
    )


def stage(
    x: nn.Variable,
    channels: int,
    blocks: int,
    name: str,
    build: L.Build,
    stride: int = 1,
    relu: bool = False,
) -> nn.Variable:
    """Apply a sequence of basic blocks.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        blocks: Number of blocks.
        name: Scope of the stage.
        build: Options of the build.
        stride: Stride of the first block.
        relu: Whether the last of several blocks ends with a ReLU. By default it does not, because
            its output is used with and without ReLU. A single block always ends with a ReLU.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    for i in range(blocks):
        x = basic_block(
            x,
            channels,
            f'{name}/{i}',
            build,
            stride=stride if i == 0 else 1,
            relu=relu or i == 0 or i < blocks - 1,
        )
    return x


def bottleneck(
    x: nn.Variable, channels: int, name: str, build: L.Build, stride: int = 1
) -> nn.Variable:
    """Apply a 1x1, a 3x3 and a 1x1 convolution and a shortcut, without ReLU after the sum.

    Args:
        x: (N, C, H, W).
        channels: Half the number of output channels.
        name: Scope of the block.
        build: Options of the build.
        stride: Stride of the 3x3 convolution.

    Returns:
        (N, 2 * channels, ceil(H / stride), ceil(W / stride)).
    """
    with L.scope(name), L.recomputed_block(build):
        y = L.bn_relu(convolution(x, channels, 1, 'conv1', build), 'bn1', build)
        y = convolution(y, channels, 3, 'conv2', build, stride=stride)
        y = convolution(L.bn_relu(y, 'bn2', build), 2 * channels, 1, 'conv3', build)
        y = L.batch_norm(y, 'bn3', build)
        x = shortcut(x, 2 * channels, build, stride=stride)
    return y + x


def bn_relu_conv(
    x: nn.Variable, channels: int, kernel: int, name: str, build: L.Build, first: int = 0
) -> nn.Variable:
    """Apply batch norm, ReLU and convolution.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of the layers.
        build: Options of the build.
        first: Index of the batch norm in the reference's Sequential.
    """
    with L.scope(name):
        x = L.bn_relu(x, str(first), build)
        return convolution(x, channels, kernel, str(first + 2), build)


def bilateral_stage(
    x: nn.Variable,
    y: nn.Variable,
    stage_name: str,
    channels: list[int],
    blocks: int,
    build: L.Build,
    *,
    stride: int,
) -> tuple[nn.Variable, nn.Variable]:
    """Apply one stage to both branches, then bilateral fusion.

    Args:
        x: Branch of low resolution, after ReLU.
        y: Branch at 1/8 of the input's size, after ReLU.
        stage_name: Number of the stage in the names of its scopes.
        channels: Channels of the strided convolutions that bring ``y`` to the size of the stage's
            ``x``; the last number is also that of ``x``.
        blocks: Number of blocks in each branch.
        build: Options of the build.
        stride: Stride of the branch of low resolution.

    Returns:
        ``x`` after ReLU and ``y`` before ReLU.
    """
    high = L.channels_of(y, build)
    x = stage(x, channels[-1], blocks, f'layer{stage_name}', build, stride)
    y = stage(y, high, blocks, f'layer{stage_name}_', build)
    down = L.relu(y, build)
    with L.scope(f'down{stage_name}'):
        for i, width in enumerate(channels):
            if i:
                down = L.bn_relu(down, str(3 * i - 2), build)
            down = convolution(down, width, 3, str(3 * i), build, stride=2)
        low = L.bn_add_relu(down, x, str(3 * i + 1), build)
    with L.scope(f'compression{stage_name}'):
        up = L.batch_norm(convolution(L.relu(x, build), high, 1, '0', build), '1', build)
    return low, y + L.resize(up, L.size_of(y, build), build)


def dappm(x: nn.Variable, width: int, channels: int, build: L.Build) -> nn.Variable:
    """Apply a deep aggregation pyramid pooling module: (N, C, H, W) -> (N, channels, H, W).

    Means over windows of increasing size, which include the zeros of the padding, are resized to
    (H, W). Each mean is added to the result of the next smaller window and convolved.

    Args:
        x: (N, C, H, W).
        width: Channels of a branch.
        channels: Output channels.
        build: Options of the build.
    """
    size = L.size_of(x, build)
    branches = [bn_relu_conv(x, width, 1, 'scale0', build)]
    for i in range(1, len(POOLINGS) + 2):
        if i <= len(POOLINGS):
            kernel, stride = POOLINGS[i - 1]
            pooled = L.average_pool(x, kernel, build, stride=stride, pad=kernel // 2)
        else:
            pooled = L.global_average_pool(x, build)
        pooled = bn_relu_conv(pooled, width, 1, f'scale{i}', build, first=1)
        y = L.resize(pooled, size, build) + branches[-1]
        branches.append(bn_relu_conv(y, width, 3, f'process{i}', build))
    y = bn_relu_conv(L.concatenate(*branches, build=build), channels, 1, 'compression', build)
    return y + bn_relu_conv(x, channels, 1, 'shortcut', build)


def head(x: nn.Variable, width: int, num_classes: int, name: str, build: L.Build) -> nn.Variable:
    """Compute logits: (N, C, H, W) -> (N, num_classes, H, W).

    Args:
        x: (N, C, H, W).
        width: Channels inside the head.
        num_classes: Number of classes.
        name: Scope of the head.
        build: Options of the build.
    """
    with L.scope(name):
        x = convolution(L.bn_relu(x, 'bn1', build), width, 3, 'conv1', build)
        x = L.bn_relu(x, 'bn2', build)
        return convolution(x, num_classes, 1, 'conv2', build, bias=True)


def ddrnet(
    x: nn.Variable,
    build: L.Build,
    *,
    num_classes: int,
    layers: tuple[int, ...],
    planes: int,
    spp_planes: int,
    head_planes: int,
    fusions: int,
    auxiliary: bool,
) -> list[nn.Variable]:
    """Build the whole network.

    Args:
        x: Normalised image, (N, 3, H, W); H and W are multiples of 8.
        build: Options of the build.
        num_classes: Number of classes.
        layers: Number of blocks of the stages 1 to 4.
        planes: Channels of the stem.
        spp_planes: Channels of a branch of the DAPPM.
        head_planes: Channels inside the heads.
        fusions: Number of bilateral fusions in stage 3.
        auxiliary: Whether the network has the auxiliary head, on the branch at 1/8 after stage 3.

    Returns:
        Logits ``[main]``, or ``[main, aux]`` with ``auxiliary``, each (N, num_classes, H / 8,
        W / 8).
    """
    for i in range(2):
        x = convolution(x, planes, 3, f'conv1/{3 * i}', build, stride=2, bias=True)
        x = L.bn_relu(x, f'conv1/{3 * i + 1}', build)
    x = stage(x, planes, layers[0], 'layer1', build, relu=True)
    x = y = stage(x, 2 * planes, layers[1], 'layer2', build, stride=2, relu=True)
    for i in range(fusions):
        part = f'3_{i + 1}' if fusions > 1 else '3'
        blocks, stride = layers[2] // fusions, 1 if i else 2
        x, after_3 = bilateral_stage(x, y, part, [4 * planes], blocks, build, stride=stride)
        y = L.relu(after_3, build)
    x, y = bilateral_stage(x, y, '4', [4 * planes, 8 * planes], layers[3], build, stride=2)
    y = bottleneck(L.relu(y, build), 2 * planes, 'layer5_/0', build)
    x = bottleneck(x, 8 * planes, 'layer5/0', build, stride=2)
    with L.scope('spp'):
        x = dappm(x, spp_planes, 4 * planes, build)
    x = L.resize(x, L.size_of(y, build), build)
    logits = [head(x + y, head_planes, num_classes, 'final_layer', build)]
    if auxiliary:
        logits.append(head(after_3, head_planes, num_classes, 'seghead_extra', build))
    return logits


def _check_fusions(hyper: dict[str, Any]) -> dict[str, Any]:
    """Raise ``SectionError`` if stage 3 does not divide into one part for each bilateral fusion."""
    if hyper['layers'][2] % hyper['fusions']:
        raise SectionError(
            'layers',
            f'the third must be a multiple of {hyper["fusions"]}, the number of bilateral fusions '
            'in stage 3',
        )
    return hyper


def _info(hyper: Hyper) -> NetworkInfo:
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        size_divisor=OUTPUT_STRIDE,
        smallest_size=OUTPUT_STRIDE,
        paper=PAPER,
    )


ORIGINAL = Original(encoder=re.compile(r'(?!spp\.|final_layer\.|seghead_extra\.)'))
BAIDU = 'https://pan.baidu.com/s/17pOOTc-HBG6TNf4k_cn4VA (password it2s)'


def _drive(file: str, network: str, task: str, key: str) -> Published:
    """Return a file on Google Drive, which needs a browser."""
    return Published(file, network, task, page=f'https://drive.google.com/file/d/{key}/view')


# Sources: the README.md of both repositories. The names of the ImageNet files are from the authors'
# sources, those of the Cityscapes files from the other repository's configs.
PUBLISHED = (
    _drive(
        'DDRNet23s_imagenet.pth',
        'ddrnet23_slim*',
        IMAGENET_ENCODER,
        '1mg5tMX7TJ9ZVcAiGSB4PEihPtrJyalB4',
    ),
    _drive(
        'DDRNet_23_slim using timm library',
        'ddrnet23_slim*',
        IMAGENET_ENCODER,
        '17sgZ8mRJFhsItmdTrifI1rloVq5K1WiC',
    ),
    _drive(
        'DDRNet23_imagenet.pth',
        'ddrnet23 ddrnet23_aux',
        IMAGENET_ENCODER,
        '1VoUsERBeuCaiuQJufu8PqpKKtGvCTdug',
    ),
    _drive(
        'DDRNet39_imagenet.pth', 'ddrnet39*', IMAGENET_ENCODER, '122CMx6DZBaRRf-dOHYwuDY9vG0_UQ10i'
    ),
    _drive(
        'best_val_smaller.pth', 'ddrnet23_slim_aux', CITYSCAPES, '1d_K3Af5fKHYwxSo8HkxpnhiekhwovmiP'
    ),
    _drive('best_val.pth', 'ddrnet23_aux', CITYSCAPES, '16viDZhbmuc3y7OSsUo2vhA7V6kYO0KX6'),
    _drive(
        'DDRNet_23_slim, CamVid', 'ddrnet23_slim*', 'CamVid', '1sh71nLdFKq1l89X3xyVO2J0d_3qBZui8'
    ),
    Published('DDRNet23_slim, own model', 'ddrnet23_slim_aux', CITYSCAPES, page=BAIDU),
)
FAMILY = Family(
    name='ddrnet',
    graph=ddrnet,
    keys=DDRNetKeys,
    variants={name: dict(hyper, num_classes=19) for name, hyper in VARIANTS.items()},
    complete=_check_fusions,
    info=_info,
    original=ORIGINAL,
    published=PUBLISHED,
)
