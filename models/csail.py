"""CSAIL's networks for ADE20K: a ResNet encoder and a decoder, in any combination.

Zhou, Zhao, Puig, Xiao, Fidler, Barriuso, Torralba, "Semantic understanding of scenes through the
ADE20K dataset", IJCV 2018, arXiv:1608.05442. Reference: CSAILVision/semantic-segmentation-pytorch,
commit 8f27c9b97d2ca7c6e05333d5766d144bf7d8c31b, mit_semseg/models/models.py; the encoders are in
:mod:`models.encoders.resnet`. Names of networks are ``csail_<encoder>_<decoder>``:

    c1            one 3x3 convolution and the classifier
    ppm           pyramid pooling: PSPNet's, Zhao et al., CVPR 2017, arXiv:1612.01105
    upernet       pyramid pooling under a feature pyramid: Xiao et al., ECCV 2018, arXiv:1807.10221
    upernet_lite  upernet with half the channels
    *_deepsup     with an auxiliary head on the encoder's third stage

The reference's ``resnet50dilated`` is ``resnet50dilated8`` here; ``dilated16`` is an argument of
its encoder that its builder never sets. Every decoder fits every encoder, as in the modules of the
reference. Logits have the size of the encoder's last map, 1/32, 1/16 or 1/8 of the input's. Those
of a UPerNet have 1/4 of the input's, even with a dilated encoder. Auxiliary logits have the size of
the third map. This is the size of the main logits on a dilated encoder. On a plain encoder it is
twice that, so that the reference's training loss, which has one label map for both heads, cannot be
computed.

Pyramid pooling needs at least two rows and columns in the encoder's last map: NNabla resizes the
pooled maps to a single row or column wrongly. A ``ppm`` decoder normalises a map pooled to one
pixel, so it cannot be trained on a batch of one; PyTorch refuses this too. A UPerNet resizes that
map first.

Initial values of the decoders are the reference's: weights from He's normal distribution with
fan-in, biases from PyTorch's default, beta 1e-4.

Differs from the original: a UPerNet takes the widths of its encoder's maps, where the reference's
builder always gives it those of ResNet-50 and thus cannot join it to ResNet-18; logits are
returned, and log-softmax, upsampling and softmax are left to the caller.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import nnabla as nn

from common.sections import Section, SectionError, config_key, keys_of
from layers import functions as L
from layers.initializers import default_uniform, kaiming_normal_by_inputs
from models.encoders.resnet import DECAY_RATE, ENCODERS, output_stride, resnet
from models.family import (
    IMAGENET_ENCODER,
    Family,
    Hyper,
    NetworkInfo,
    Original,
    Published,
)

NUM_CLASSES = 150
PPM_CHANNELS = 512  # channels of each pooled map, and of a PPM's last 3x3 convolution
DROPOUT = 0.1  # share of the maps dropped before a PPM's classifiers
INITIAL_BETA = 1e-4  # initial beta of the decoders' batch norms
POOLING = dict(pool_scales=(1, 2, 3, 6))
PAPERS = {
    'c1': 'Zhou et al., IJCV 2018, arXiv:1608.05442',
    'ppm': 'Zhao et al., CVPR 2017, arXiv:1612.01105',
    'upernet': 'Xiao et al., ECCV 2018, arXiv:1807.10221',
}


def conv_bn_relu(
    x: nn.Variable, channels: int, kernel: int, name: str, build: L.Build, at: int = 0
) -> nn.Variable:
    """Apply a convolution without bias, batch norm and ReLU.

    Convolution and batch norm are called ``<name>/<at>`` and ``<name>/<at + 1>``.

    Args:
        x: (N, C, H, W).
        channels: Output channels.
        kernel: Kernel size.
        name: Scope of both layers.
        build: Options of the build.
        at: Index of the convolution in the reference's Sequential.
    """
    initializer = kaiming_normal_by_inputs
    with L.scope(name):
        x = L.convolution(x, channels, kernel, f'{at}', build, bias=False, initializer=initializer)
        return L.bn_relu(x, f'{at + 1}', build, decay_rate=DECAY_RATE, beta=INITIAL_BETA)


def classifier(x: nn.Variable, num_classes: int, name: str, build: L.Build) -> nn.Variable:
    """Compute logits by a 1x1 convolution with bias.

    Args:
        x: (N, C, H, W).
        num_classes: Number of classes.
        name: Scope of the convolution.
        build: Options of the build.
    """
    return L.convolution(
        x,
        num_classes,
        1,
        name,
        build,
        initializer=kaiming_normal_by_inputs,
        bias_initializer=default_uniform(L.channels_of(x, build), 1),
    )


def auxiliary_head(
    features: Sequence[nn.Variable], num_classes: int, build: L.Build, dropout: float = 0.0
) -> nn.Variable:
    """Compute logits from the last map but one, for deep supervision.

    Args:
        features: Maps of the encoder, finest first.
        num_classes: Number of classes.
        build: Options of the build.
        dropout: Share of the maps dropped before the classifier.
    """
    x = features[-2]
    x = conv_bn_relu(x, L.channels_of(x, build) // 2, 3, 'cbr_deepsup', build)
    if dropout:
        x = L.dropout(x, dropout, build, maps=True)
    return classifier(x, num_classes, 'conv_last_deepsup', build)


def c1(
    features: Sequence[nn.Variable], build: L.Build, *, num_classes: int, deepsup: bool = False
) -> list[nn.Variable]:
    """Decode the last map by one 3x3 convolution.

    Args:
        features: Maps of the encoder, finest first.
        build: Options of the build.
        num_classes: Number of classes.
        deepsup: Whether to add the auxiliary head.

    Returns:
        Logits ``[main]``, or ``[main, aux]`` with ``deepsup``.
    """
    x = features[-1]
    x = conv_bn_relu(x, L.channels_of(x, build) // 4, 3, 'cbr', build)
    outputs = [classifier(x, num_classes, 'conv_last', build)]
    return [*outputs, auxiliary_head(features, num_classes, build)] if deepsup else outputs


def ppm(
    features: Sequence[nn.Variable],
    build: L.Build,
    *,
    num_classes: int,
    pool_scales: tuple[int, ...],
    deepsup: bool = False,
) -> list[nn.Variable]:
    """Decode the last map by pyramid pooling: convolve means over large tiles, then resize them.

    Args:
        features: Maps of the encoder, finest first.
        build: Options of the build.
        num_classes: Number of classes.
        pool_scales: Number of tiles per side of each pooled map.
        deepsup: Whether to add the auxiliary head.

    Returns:
        Logits ``[main]``, or ``[main, aux]`` with ``deepsup``.
    """
    x = features[-1]
    size, maps = L.size_of(x, build), [x]
    for i, bins in enumerate(pool_scales):
        pooled = L.adaptive_average_pool(x, bins, build)
        pooled = conv_bn_relu(pooled, PPM_CHANNELS, 1, f'ppm/{i}', build, at=1)
        maps.append(L.resize(pooled, size, build))
    x = conv_bn_relu(L.concatenate(*maps, build=build), PPM_CHANNELS, 3, 'conv_last', build)
    x = L.dropout(x, DROPOUT, build, maps=True)
    outputs = [classifier(x, num_classes, 'conv_last/4', build)]
    return [*outputs, auxiliary_head(features, num_classes, build, DROPOUT)] if deepsup else outputs


def upernet(
    features: Sequence[nn.Variable],
    build: L.Build,
    *,
    num_classes: int,
    pool_scales: tuple[int, ...],
    fpn_dim: int,
) -> list[nn.Variable]:
    """Decode all maps by pyramid pooling and a feature pyramid.

    Pooled maps are resized before they are convolved. Each level of the pyramid is added to the
    next finer map, and all levels are concatenated at the finest size.

    Args:
        features: Maps of the encoder, finest first.
        build: Options of the build.
        num_classes: Number of classes.
        pool_scales: Number of tiles per side of each pooled map.
        fpn_dim: Channels of the feature pyramid.

    Returns:
        Logits ``[main]``.
    """
    x = features[-1]
    size, maps = L.size_of(x, build), [x]
    for i, bins in enumerate(pool_scales):
        pooled = L.resize(L.adaptive_average_pool(x, bins, build), size, build)
        maps.append(conv_bn_relu(pooled, PPM_CHANNELS, 1, f'ppm_conv/{i}', build))
    x = conv_bn_relu(L.concatenate(*maps, build=build), fpn_dim, 3, 'ppm_last_conv', build)
    levels = [x]
    for i in reversed(range(len(features) - 1)):
        lateral = conv_bn_relu(features[i], fpn_dim, 1, f'fpn_in/{i}', build)
        x = lateral + L.resize(x, L.size_of(lateral, build), build)
        levels.insert(0, conv_bn_relu(x, fpn_dim, 3, f'fpn_out/{i}/0', build))
    size = L.size_of(levels[0], build)
    x = L.concatenate(*(L.resize(level, size, build) for level in levels), build=build)
    x = conv_bn_relu(x, fpn_dim, 3, 'conv_last/0', build)
    return [classifier(x, num_classes, 'conv_last/1', build)]


DECODER_FUNCTIONS: dict[str, Callable[..., list[nn.Variable]]] = {
    'c1': c1,
    'ppm': ppm,
    'upernet': upernet,
}


@dataclass(frozen=True, kw_only=True)
class CSAILKeys(Section):
    """Hyper-parameters of the decoders."""

    pool_scales: tuple[int, ...] | None = config_key(
        None,
        'number of tiles per side of each pooled map; decoders with pyramid pooling only',
        least=1,
        default_text='[1, 2, 3, 6]',
    )
    fpn_dim: int | None = config_key(
        None,
        'channels of the feature pyramid; UPerNet only',
        least=1,
        default_text='512, and 256 for upernet_lite',
    )


DECODERS: dict[str, dict[str, Any]] = {  # hyper-parameters of each decoder, with default values
    'c1': dict(),
    'c1_deepsup': dict(),
    'ppm': POOLING,
    'ppm_deepsup': POOLING,
    'upernet': dict(POOLING, fpn_dim=512),
    'upernet_lite': dict(POOLING, fpn_dim=256),
}
VARIANTS = {
    f'csail_{encoder}_{decoder}': dict(
        options, encoder=encoder, decoder=decoder, num_classes=NUM_CLASSES
    )
    for encoder, (decoder, options) in product(ENCODERS, DECODERS.items())
}


def csail(
    x: nn.Variable, build: L.Build, *, encoder: str, decoder: str, **hyper: Any
) -> list[nn.Variable]:
    """Build the whole network.

    Args:
        x: Normalised image, (N, 3, H, W), of any size.
        build: Options of the build.
        encoder: Name in :data:`models.encoders.resnet.ENCODERS`.
        decoder: Name in :data:`DECODERS`.
        **hyper: Number of classes, and the decoder's hyper-parameters; see :class:`CSAILKeys`.

    Returns:
        Logits ``[main]``, or ``[main, aux]`` with deep supervision, each (N, num_classes, h, w).
    """
    head, _, addition = decoder.partition('_')
    if addition == 'deepsup':
        hyper['deepsup'] = True
    with L.scope('encoder'):
        features = resnet(x, build, **ENCODERS[encoder])
    with L.scope('decoder'):
        return DECODER_FUNCTIONS[head](features, build, **hyper)


def _check_decoder(hyper: dict[str, Any]) -> dict[str, Any]:
    """Raise ``SectionError`` for hyper-parameters that the decoder does not have."""
    decoder = hyper['decoder']
    for key in keys_of(CSAILKeys):
        if key in hyper and key not in DECODERS[decoder]:
            users = ', '.join(name for name, options in DECODERS.items() if key in options)
            raise SectionError(
                key, f'the decoder {decoder} does not use it; those that do are {users}'
            )
    return hyper


def _info(hyper: Hyper) -> NetworkInfo:
    pools = max(hyper.get('pool_scales', (1,))) > 1
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        smallest_size=output_stride(hyper['encoder']) + 1 if pools else 1,
        paper=PAPERS[hyper['decoder'].partition('_')[0]],
    )


# Input statistics of the weights from March 2018 to August 2019 (dataset.py at 42bc6cb). Those of
# later weights are in dataset.py at ac0019c.
BGR = {
    'mean': (102.9801, 115.9465, 122.7717),
    'std': (1.0, 1.0, 1.0),
    'channel_order': 'bgr',
}
ORIGINAL = Original(
    encoder=re.compile(r'encoder\.'),
    statistics={'csail_bgr': BGR},
    statistics_of_names={'baseline-': 'csail_bgr', 'ade20k-': 'imagenet'},
    unknown_statistics='The file names do not identify the input statistics: RGB is assumed, as '
    'for files since August 2019; pass --input-statistics csail_bgr for older ones (baseline-*).',
)
FILES = ('http://sceneparsing.csail.mit.edu/model/pytorch/',)
ENCODER_FILES = ('http://sceneparsing.csail.mit.edu/model/pretrained_resnet/',)
NO_NETWORK = 'no network of this project has this encoder'


def _published(
    folder: str,
    epoch: int,
    network: str,
    obstacle: str | None = None,
    statistics: str = 'imagenet',
) -> tuple[Published, ...]:
    """Return the two files of a network, encoder and decoder."""
    halves = tuple(f'{half}_epoch_{epoch}.pth' for half in ('encoder', 'decoder'))
    return tuple(
        Published(
            f'{folder}/{half}',
            network,
            f'ADE20K, 150 classes, {half.partition("_")[0]}',
            FILES,
            halves=halves,
            obstacle=obstacle,
            statistics=statistics,
        )
        for half in halves
    )


def _published_2018(folder: str, epoch: int, network: str) -> tuple[Published, ...]:
    """Return the two files of a network trained before August 2019, with other input statistics."""
    return _published(f'baseline-{folder}', epoch, network, statistics='csail_bgr')


# Sources: config/*.yaml, demo_test.sh and mit_semseg/models/*.py; the addresses are plain http.
PUBLISHED = (
    *_published('ade20k-resnet18dilated-ppm_deepsup', 20, 'csail_resnet18dilated8_ppm_deepsup'),
    *_published('ade20k-resnet50dilated-ppm_deepsup', 20, 'csail_resnet50dilated8_ppm_deepsup'),
    *_published('ade20k-resnet101dilated-ppm_deepsup', 25, 'csail_resnet101dilated8_ppm_deepsup'),
    *_published('ade20k-resnet50-upernet', 30, 'csail_resnet50_upernet'),
    *_published('ade20k-resnet101-upernet', 50, 'csail_resnet101_upernet'),
    *_published('ade20k-mobilenetv2dilated-c1_deepsup', 20, '', NO_NETWORK),
    *_published('ade20k-hrnetv2-c1', 30, '', NO_NETWORK),
    # README.md and demo_test.sh at 42bc6cb name the folder of resnet50dilated-ppm_deepsup and the
    # page with all files. The other folders are named like it, with the epochs in the README's
    # table.
    *_published_2018('resnet18dilated-c1_deepsup', 20, 'csail_resnet18dilated8_c1_deepsup'),
    *_published_2018('resnet18dilated-ppm_deepsup', 20, 'csail_resnet18dilated8_ppm_deepsup'),
    *_published_2018('resnet50dilated-ppm_deepsup', 20, 'csail_resnet50dilated8_ppm_deepsup'),
    *_published_2018('resnet101dilated-ppm_deepsup', 25, 'csail_resnet101dilated8_ppm_deepsup'),
    *_published_2018('resnet50-upernet', 20, 'csail_resnet50_upernet'),
    *_published_2018('resnet101-upernet', 25, 'csail_resnet101_upernet'),
    Published('resnet18-imagenet.pth', 'csail_resnet18*', IMAGENET_ENCODER, ENCODER_FILES),
    Published('resnet50-imagenet.pth', 'csail_resnet50*', IMAGENET_ENCODER, ENCODER_FILES),
    Published('resnet101-imagenet.pth', 'csail_resnet101*', IMAGENET_ENCODER, ENCODER_FILES),
    Published('mobilenet_v2.pth.tar', '', IMAGENET_ENCODER, ENCODER_FILES, obstacle=NO_NETWORK),
    Published('hrnetv2_w48-imagenet.pth', '', IMAGENET_ENCODER, ENCODER_FILES, obstacle=NO_NETWORK),
    Published('resnext101-imagenet.pth', '', IMAGENET_ENCODER, ENCODER_FILES, obstacle=NO_NETWORK),
)
FAMILY = Family(
    name='csail',
    graph=csail,
    keys=CSAILKeys,
    variants=VARIANTS,
    complete=_check_decoder,
    info=_info,
    original=ORIGINAL,
    published=PUBLISHED,
)
