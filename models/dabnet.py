"""DABNet: densely aggregated bilateral network for real-time semantic segmentation.

"Real-time semantic segmentation via densely aggregated bilateral network", IEEE Transactions on
Neural Networks and Learning Systems. Reference: isyangshu/DABNet, commit
8ad62f02d20e5ed4481d4310c3cb0c8fb49d226f, mmseg/models/backbones/dabnet.py, dabnet_Patch8.py and
dabnet_eb.py, mmseg/models/decode_heads/fcn_head.py, configs/_base_/models/dabnet_r18-d32.py and
dabnet_eb1-d32.py.

The network has a context path, the encoder, and a spatial path at 1/8 of the input's size, as in
BiSeNet (arXiv:1808.00897). After each stage of the encoder, a patch module (the reference's class
SIM; HFA and PCE in its documents) processes the map by pixels and by patches. The hyper-parameters
are in :class:`DABNetKeys`.

Initial values are the reference's: PyTorch's defaults in the patch modules, He's normal
distribution with fan-out elsewhere, a standard deviation of 0.01 before the logits.

Differs from the original: the patch size is a hyper-parameter; the original has a copy of the file
for each. Batch norms are synchronized among processes only where the build has a communicator. One
that would see a single value a channel in training is refused, as PyTorch does: behind the global
poolings, a process on its own needs a batch of two or more.
"""

import re
from dataclasses import dataclass
from typing import Protocol

import nnabla as nn
import nnabla.initializer as I

from common.sections import Section, config_key
from layers import functions as L
from layers.initializers import default_uniform, kaiming_normal
from models.encoders import efficientnet, resnet_v1c
from models.family import (
    CITYSCAPES,
    IMAGENET_ENCODER,
    Family,
    Hyper,
    NetworkInfo,
    Original,
    Published,
)

PAPER = 'Densely aggregated bilateral network, IEEE TNNLS, isyangshu/DABNet'
ENCODER_STRIDE = 32  # size of the input / size of the encoder's last map
# Channels of the two layers of the spatial path at 1/8; the context path has the second number too.
SPATIAL_CHANNELS = (64, 128)
FUSED_CHANNELS = 256  # channels of the fused map, and inside the main head
AUXILIARY_CHANNELS = 64  # channels inside an auxiliary head
DROPOUT = 0.1  # share of the maps dropped before the logits


class EncoderModule(Protocol):
    """Interface of the modules of :mod:`models.encoders` that DABNet uses."""

    def stem(self, x: nn.Variable, build: L.Build) -> nn.Variable:
        """Apply the stem to a normalised image."""

    def stage(self, x: nn.Variable, number: int, build: L.Build) -> nn.Variable:
        """Apply one of the stages 1 to 4."""


ENCODERS: dict[str, EncoderModule] = {'resnet18_v1c': resnet_v1c, 'efficientnet_b1': efficientnet}
VARIANTS = {
    f'dabnet_r18_p{patch_size}': dict(
        encoder='resnet18_v1c', patch_size=patch_size, sim_channels=(32, 64, 64, 64)
    )
    for patch_size in (1, 2, 4, 8, 16)
} | {
    'dabnet_e': dict(encoder='efficientnet_b1', patch_size=2, sim_channels=(24, 32, 32, 32)),
}


@dataclass(frozen=True, kw_only=True)
class DABNetKeys(Section):
    """Hyper-parameters of DABNet."""

    patch_size: int | None = config_key(
        None,
        "height and width of a patch in pixels of the encoder's maps",
        least=1,
        default_text="the variant's",
    )
    sim_channels: tuple[int, int, int, int] | None = config_key(
        None,
        'channels of the four patch modules, one after each stage of the encoder',
        least=1,
        default_text="the variant's",
    )


def conv_bn_relu(
    x: nn.Variable,
    channels: int,
    kernel: int,
    name: str,
    build: L.Build,
    stride: int = 1,
    relu: bool = True,
) -> nn.Variable:
    """Apply OpenMMLab's ConvModule: convolution, batch norm and, by default, ReLU.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of the module.
        build: Options of the build.
        stride: Stride of the convolution.
        relu: Whether a ReLU follows.

    Returns:
        (N, channels, ceil(H / stride), ceil(W / stride)).
    """
    with L.scope(name):
        x = L.convolution(
            x,
            channels,
            kernel,
            'conv',
            build,
            stride=stride,
            bias=False,
            initializer=kaiming_normal,
        )
        return (L.bn_relu if relu else L.batch_norm)(x, 'bn', build)


def patch_module(x: nn.Variable, width: int, patch_size: int, build: L.Build) -> nn.Variable:
    """Apply a patch module (SIM), which processes a map by pixels and by patches.

    The module has a map of pixels and a map of patches, smaller by ``patch_size``. The two maps
    exchange information once; at the end, the map of pixels receives that of patches again. A patch
    is represented by all its pixels and by their mean.

    Args:
        x: (N, C, H, W).
        width: Channels of the two maps.
        patch_size: Height and width of a patch in pixels of ``x``.
        build: Options of the build.

    Returns:
        (N, C, H, W).
    """
    channels, size = L.channels_of(x, build), L.size_of(x, build)

    def convolution(x: nn.Variable, channels: int, kernel: int, name: str) -> nn.Variable:
        uniform = default_uniform(L.channels_of(x, build), kernel)
        return L.convolution(
            x, channels, kernel, name, build, initializer=uniform, bias_initializer=uniform
        )

    def means(x: nn.Variable) -> nn.Variable:
        return L.average_pool(x, patch_size, build) if patch_size > 1 else x

    with L.recomputed_block(build):
        pixels = L.bn_relu(convolution(x, width, 3, 'h2h_0'), 'bnh_0', build)
        patches = convolution(L.space_to_depth(x, patch_size, build), width, 3, 'h2l_0')
        patches = convolution(L.bn_relu(patches, 'bnl_0', build), width, 1, 'l2l_p1')
        patches = patches + convolution(means(x), width, 1, 'l2l_p2')
        patches = L.bn_relu(patches, 'l2l_bn', build)

        to_pixels = convolution(L.resize(patches, size, build), width, 3, 'l2h_1')
        to_patches = convolution(means(pixels), width, 3, 'h2l_1')
        pixels = convolution(pixels, width, 3, 'h2h_1') + to_pixels
        patches = convolution(patches, width, 3, 'l2l_1') + to_patches
        pixels = L.bn_relu(pixels, 'bnh_1', build)
        patches = L.bn_relu(patches, 'bnl_1', build)

        to_pixels = convolution(L.resize(patches, size, build), channels, 3, 'l2h_2')
        pixels = convolution(pixels, channels, 3, 'h2h_2') + to_pixels
        pixels = L.bn_relu(pixels, 'bnh_2', build)
    return pixels + x


def attention_refinement(x: nn.Variable, channels: int, name: str, build: L.Build) -> nn.Variable:
    """Apply an attention refinement module: (N, C, H, W) -> (N, channels, H, W).

    After a 3x3 convolution, each channel is scaled by a gate computed from the means of all
    channels.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        name: Scope of the module.
        build: Options of the build.
    """
    with L.scope(name):
        x = conv_bn_relu(x, channels, 3, 'conv_layer', build)
        gate = L.global_average_pool(x, build)
        gate = conv_bn_relu(gate, channels, 1, 'atten_conv_layer/1', build, relu=False)
        return x * L.sigmoid(gate)


def feature_fusion(
    spatial: nn.Variable, context: nn.Variable, channels: int, build: L.Build
) -> nn.Variable:
    """Fuse both paths: (N, C, H, W) and (N, C', H, W) -> (N, channels, H, W).

    The ReLU before the sigmoid is the reference's: no gate is below a half.

    Args:
        spatial: Map of the spatial path.
        context: Map of the context path.
        channels: Output channels.
        build: Options of the build.
    """
    x = L.concatenate(spatial, context, build=build)
    with L.scope('ffm'):
        x = conv_bn_relu(x, channels, 1, 'conv1', build)
        gate = conv_bn_relu(L.global_average_pool(x, build), channels, 1, 'conv_atten/0', build)
    return x * L.sigmoid(gate) + x


def two_paths(
    x: nn.Variable, build: L.Build, *, encoder: str, patch_size: int, sim_channels: tuple[int, ...]
) -> tuple[nn.Variable, nn.Variable, nn.Variable]:
    """Build everything but the heads.

    Args:
        x: Normalised image, (N, 3, H, W).
        build: Options of the build.
        encoder: Name in :data:`ENCODERS`.
        patch_size: Height and width of a patch in pixels of the encoder's maps.
        sim_channels: Channels of the four patch modules.

    Returns:
        The fused map (N, 256, H / 8, W / 8). Then the maps of the context path, (N, 128, H / 8,
        W / 8) and (N, 128, H / 16, W / 16).
    """
    layers = ENCODERS[encoder]
    with L.scope('backbone'):
        stem = y = layers.stem(x, build)
    maps = []
    for number in range(1, 5):
        with L.scope('backbone'):
            y = layers.stage(y, number, build)
        with L.scope(f'SIM_{number - 1}'):
            y = patch_module(y, sim_channels[number - 1], patch_size, build)
        maps.append(y)
    at_4, at_8, at_16, at_32 = maps

    width = L.channels_of(at_4, build)
    spatial = L.concatenate(L.average_pool(x, 2, build), stem, build=build)
    spatial = conv_bn_relu(spatial, width, 3, 'sp_0', build, stride=2)
    spatial = spatial + conv_bn_relu(at_4, width, 3, 'cp_1', build)
    spatial = conv_bn_relu(spatial, SPATIAL_CHANNELS[0], 3, 'sp_1', build, stride=2)
    spatial = spatial + conv_bn_relu(at_8, SPATIAL_CHANNELS[0], 3, 'cp_2', build)
    spatial = conv_bn_relu(spatial, SPATIAL_CHANNELS[1], 1, 'sp_2', build)

    context_16 = attention_refinement(at_32, SPATIAL_CHANNELS[1], 'arm32', build)
    context_16 = L.resize(context_16, L.size_of(at_16, build), build, 'nearest')
    context_16 = conv_bn_relu(context_16, SPATIAL_CHANNELS[1], 3, 'conv_head32', build)
    context_8 = attention_refinement(at_16, SPATIAL_CHANNELS[1], 'arm16', build) + context_16
    context_8 = L.resize(context_8, L.size_of(at_8, build), build, 'nearest')
    context_8 = conv_bn_relu(context_8, SPATIAL_CHANNELS[1], 3, 'conv_head16', build)
    return feature_fusion(spatial, context_8, FUSED_CHANNELS, build), context_8, context_16


def head(x: nn.Variable, channels: int, num_classes: int, name: str, build: L.Build) -> nn.Variable:
    """Apply OpenMMLab's FCNHead: (N, C, H, W) -> logits (N, num_classes, H, W).

    Args:
        x: (N, C, H, W).
        channels: Channels inside the head.
        num_classes: Number of classes.
        name: Scope of the head.
        build: Options of the build.
    """
    with L.scope(name):
        x = conv_bn_relu(x, channels, 3, 'convs/0', build)
        x = L.dropout(x, DROPOUT, build, maps=True)
        normal = I.NormalInitializer(0.01)
        return L.convolution(x, num_classes, 1, 'conv_seg', build, initializer=normal)


def dabnet(
    x: nn.Variable,
    build: L.Build,
    *,
    num_classes: int,
    encoder: str,
    patch_size: int,
    sim_channels: tuple[int, ...],
) -> list[nn.Variable]:
    """Build the whole network.

    Args:
        x: Normalised image, (N, 3, H, W); H and W are multiples of 32 * patch_size.
        build: Options of the build.
        num_classes: Number of classes.
        encoder: Name in :data:`ENCODERS`.
        patch_size: Height and width of a patch in pixels of the encoder's maps.
        sim_channels: Channels of the four patch modules.

    Returns:
        Main logits (N, num_classes, H / 8, W / 8), then those of the context path at 1/8 and 1/16
        of the input's size.
    """
    with L.scope('backbone'):
        fused, *context = two_paths(
            x, build, encoder=encoder, patch_size=patch_size, sim_channels=sim_channels
        )
    logits = [head(fused, FUSED_CHANNELS, num_classes, 'decode_head', build)]
    for i, features in enumerate(context):
        logits.append(head(features, AUXILIARY_CHANNELS, num_classes, f'auxiliary_head/{i}', build))
    return logits


def _info(hyper: Hyper) -> NetworkInfo:
    size = ENCODER_STRIDE * hyper['patch_size']
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        size_divisor=size,
        smallest_size=size,
        paper=PAPER,
    )


ORIGINAL = Original(encoder=re.compile(r'backbone\.backbone\.'))
COCOSTUFF = 'COCO-Stuff 10k, 171 classes'
OPENMMLAB = ('https://download.openmmlab.com/pretrain/third_party/',)
TIMM = ('https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/',)
BAIDU = 'https://pan.baidu.com/s/1frav6gGSJ0p396sCOAhODg (password 2t0o)'
BAIDU_TEST = 'https://pan.baidu.com/s/1TlLLYnwLAEqhYwbuMhbXpA (password vq1n)'
# Sources: README.md; OpenMMLab and timm for the initial weights of the trainings. One folder on
# Baidu holds all files, another one the results sent to the Cityscapes server. The README does not
# name the files in them.
PUBLISHED = (
    Published('DABNet_R_P2', 'dabnet_r18_p2', CITYSCAPES, page=BAIDU),
    Published('DABNet_E', 'dabnet_e', CITYSCAPES, page=BAIDU),
    Published('DABNet_R_P2, COCO-10k', 'dabnet_r18_p2', COCOSTUFF, page=BAIDU, num_classes=171),
    Published('DABNet_E, COCO-10k', 'dabnet_e', COCOSTUFF, page=BAIDU, num_classes=171),
    Published(
        'DABNet, Cityscapes test results',
        'dabnet_*',
        'Cityscapes, test',
        page=BAIDU_TEST,
        obstacle='it holds results for the Cityscapes server, not weights',
    ),
    Published('resnet18_v1c-b5776b93.pth', 'dabnet_r18_*', IMAGENET_ENCODER, OPENMMLAB),
    Published('efficientnet_b1-533bc792.pth', 'dabnet_e', IMAGENET_ENCODER, TIMM),
)
FAMILY = Family(
    name='dabnet',
    graph=dabnet,
    keys=DABNetKeys,
    variants={name: dict(hyper, num_classes=19) for name, hyper in VARIANTS.items()},
    info=_info,
    original=ORIGINAL,
    published=PUBLISHED,
)
