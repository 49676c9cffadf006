"""The networks of TI's EdgeAI-Lite: MobileNetV2 and RegNetX with light decoders.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision, models/pixel2pixel (deeplabv3plus_edgeailite.py,
unet_edgeailite.py, fpn_edgeailite.py) and models/multi_input_net.py; input statistics of
references/edgeailite/edgeai_xvision/xengine/train_pixel2pixel.py. A network's name is

    deeplabv3plus | unet_aspp | unet | fpn_aspp | fpn | fpn128_aspp | fpn128
    _ mobilenetv2_tv[_fd] | mobilenetv2_tv_1p4[_fd] | regnetx{400mf,800mf,1p6gf,3p2gf}[_bgr | _fd]
    _edgeailite

with the meaning that the original's names have:

    1p4     all channels 1.4 times, and ReLU6 for ReLU, in the decoder too; the original spells it
            ``mobilenetv2_1p4_tv`` behind FPN and ``mobilenetv2_tv_1p4`` behind DeepLabV3+, and here
            both are names of one network behind all decoders
    fd      fast downsampling: the encoder's maps, and the logits, are half as large
    fpn128  128 channels in the decoder, and logits at a quarter of the input's size also with fd
    aspp    DeepLabV3+ has one always. UNet and FPN without it are not merely without: two levels
            more, at twice and four times the encoder's stride, take its place
            (``use_extra_strides``), so that the input's size is a multiple of 128, with fd of 256
    bgr     the same network; in the original the name reminds that pycls's encoders see BGR

Grouped convolutions of a RegNetX decoder have the encoder's group width, but the number of groups
is rounded down: where channels are no multiple of the width the groups are larger, and where they
do not split into that many groups there is no such network (:data:`IMPOSSIBLE`). In a UNet this
depends on the number of classes: :func:`complete` refuses one that does not do, and networks that
cannot have 19 classes are created with others (:data:`CLASSES`).

Differs from the original: there are one image and one decoder; logits are returned at the decoder's
size, and the last upsampling, bilinear by a whole factor, is left to the caller; a ``bgr`` network
says so in its :class:`models.family.NetworkInfo`, where the original leaves the order to a flag.
The names with ResNet-50 and BiFPN are not here, nor those with ``ericsun``, an encoder that is not
published.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any, TypeVar

import nnabla as nn

from common.sections import Section, SectionError, config_key
from layers import functions as L
from models import edgeailite_decoders as decoders
from models.edgeailite_blocks import groups_of
from models.edgeailite_decoders import Decoding
from models.edgeailite_published import PUBLISHED
from models.encoders import mobilenetv2, regnet
from models.family import Family, Hyper, NetworkInfo, Original


@dataclass(frozen=True, kw_only=True)
class EdgeAILiteKeys(Section):
    """Hyper-parameters of the decoders."""

    use_aspp: bool | None = config_key(
        None,
        'whether the decoder has atrous spatial pyramid pooling (ASPP)',
        default_text='true for DeepLabV3+ and names with aspp, else false',
    )
    use_extra_strides: bool | None = config_key(
        None,
        'whether the decoder has two more levels in place of the ASPP; UNet and FPN only',
        default_text='true for UNet and FPN without aspp in the name, else false',
    )
    decoder_chan: int | None = config_key(
        None,
        'channels inside the decoder',
        least=1,
        default_text='128 for fpn128, else 256; more with a wide encoder',
    )
    aspp_chan: int | None = config_key(
        None,
        'channels of a branch of the ASPP',
        least=1,
        default_text="the variant's decoder_chan",
    )
    aspp_dil: tuple[int, int, int] = config_key(
        (6, 12, 18), 'dilations of the three branches of the ASPP that are dilated', least=1
    )


Map = TypeVar('Map')  # a Variable, or the number of its channels


@dataclass(frozen=True)
class Encoder:
    """An encoder, and the decoders' channels beside it.

    features: ``features(x, build, last_stride=..., fast_down=...)`` returns five maps, finest
    first, with ``maps`` channels.
    """

    features: Callable[..., list[nn.Variable]]
    maps: tuple[int, ...]
    paper: str
    decoder_chan: int = 256
    narrow_chan: int = 128  # of fpn128
    shortcut_out: int = 48
    group_size: int | None = None
    norm: L.Norm = L.bn_relu


def _mobilenetv2(width: float = 1.0, norm: L.Norm = L.bn_relu) -> Encoder:
    decoder, narrow, shortcut = (mobilenetv2.scaled(count, width) for count in (256, 128, 48))
    features = partial(mobilenetv2.encoder, width=width, norm=norm)
    maps = mobilenetv2.maps(width)
    return Encoder(features, maps, mobilenetv2.PAPER, decoder, narrow, shortcut, norm=norm)


def _regnet(name: str, decoder_chan: int = 256) -> Encoder:
    table = regnet.VARIANTS[name]
    features, group_size = partial(regnet.encoder, **table), table['group_width']
    return Encoder(features, table['widths'], regnet.PAPER, decoder_chan, group_size=group_size)


ENCODERS = {
    'mobilenetv2_tv': _mobilenetv2(),
    'mobilenetv2_tv_1p4': _mobilenetv2(1.4, L.bn_relu6),
    'regnetx400mf': _regnet('regnetx400mf'),
    'regnetx800mf': _regnet('regnetx800mf'),
    'regnetx1p6gf': _regnet('regnetx1p6gf', decoder_chan=264),
    'regnetx3p2gf': _regnet('regnetx3p2gf', decoder_chan=288),
}
REGNETS = tuple(regnet.VARIANTS)
ENCODER_NAMES: dict[str, dict[str, Any]] = (
    {name: dict(encoder=name) for name in ENCODERS}
    | {'mobilenetv2_1p4_tv': dict(encoder='mobilenetv2_tv_1p4')}
    | {f'{name}_fd': dict(encoder=name, fast_down=True) for name in ENCODERS}
    | {f'{name}_bgr': dict(encoder=name, channel_order='bgr') for name in REGNETS}
)
DECODERS: dict[str, dict[str, Any]] = {
    'deeplabv3plus': dict(decoder='deeplabv3plus'),
    'unet_aspp': dict(decoder='unet'),
    'unet': dict(decoder='unet', use_aspp=False, use_extra_strides=True),
    'fpn_aspp': dict(decoder='fpn'),
    'fpn': dict(decoder='fpn', use_aspp=False, use_extra_strides=True),
    'fpn128_aspp': dict(decoder='fpn128'),
    'fpn128': dict(decoder='fpn128', use_aspp=False, use_extra_strides=True),
}
FUNCTIONS: dict[str, decoders.Decoder] = {
    'deeplabv3plus': decoders.deeplabv3plus,
    'unet': decoders.unet,
    'fpn': decoders.fpn,
    'fpn128': decoders.fpn,
}
# Decoder and encoder whose channels do not split into groups, whatever the number of classes.
IMPOSSIBLE = {('fpn128', 'regnetx1p6gf')}
# Classes of a network as created: those of Cityscapes, and where these cannot be, of ADE20K32.
NUM_CLASSES = 19
CLASSES = {('unet', 'regnetx400mf'): 32, ('unet', 'regnetx3p2gf'): 32}
DEFAULTS = dict(
    fast_down=False,
    channel_order='rgb',
    use_aspp=True,
    use_extra_strides=False,
)


def _variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the networks that can be, with their hyper-parameters."""
    for (decoder_name, decoder), (encoder_name, encoder) in product(
        DECODERS.items(), ENCODER_NAMES.items()
    ):
        pair = decoder['decoder'], encoder['encoder']
        if pair not in IMPOSSIBLE:
            num_classes = CLASSES.get(pair, NUM_CLASSES)
            name = f'{decoder_name}_{encoder_name}_edgeailite'
            yield name, dict(num_classes=num_classes, **decoder, **encoder)


VARIANTS = dict(_variants())


def edgeailite(x: nn.Variable, build: L.Build, **hyper: Any) -> list[nn.Variable]:
    """The whole network: normalised image (N, 3, H, W) -> [logits (N, num_classes, H / s, W / s)].

    s is 4, for a UNet 2, and twice as much with fast downsampling, for which ``fpn128`` makes up.
    ``hyper`` is as :func:`complete` returns it.
    """
    last_stride = 1 if hyper['decoder'] == 'deeplabv3plus' else 2
    with L.scope('encoder'), L.scope('features'):
        maps = ENCODERS[hyper['encoder']].features(
            x, build, last_stride=last_stride, fast_down=hyper['fast_down']
        )
    with L.scope('decoders'), L.scope('0'):
        return [FUNCTIONS[hyper['decoder']](taken(maps, hyper), build, _decoding(hyper))]


def taken(maps: Sequence[Map], hyper: Mapping[str, Any]) -> list[Map]:
    """What the decoder takes of the encoder's maps, finest first."""
    if hyper['decoder'] == 'deeplabv3plus':
        return [maps[1], maps[-1]]
    whole = hyper['decoder'] == 'unet' or (hyper['decoder'] == 'fpn128' and hyper['fast_down'])
    return list(maps if whole else maps[1:])


def complete(hyper: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on the variant, and check that all hyper-parameters agree.

    Raises:
        SectionError: They do not, or the channels do not split into the encoder's groups.
    """
    encoder, decoder = ENCODERS[hyper['encoder']], hyper['decoder']
    width = encoder.narrow_chan if decoder == 'fpn128' else encoder.decoder_chan
    hyper = {**DEFAULTS, 'decoder_chan': width, 'aspp_chan': width, **hyper}
    if hyper['use_extra_strides'] and (hyper['use_aspp'] or decoder == 'deeplabv3plus'):
        raise SectionError('use_extra_strides', 'only UNet and FPN have them, in place of the ASPP')
    maps = taken(encoder.maps, hyper)
    for channels in decoders.grouped_channels(FUNCTIONS[decoder], maps, _decoding(hyper)):
        try:
            groups_of(channels, encoder.group_size)
        except ValueError as error:
            key = 'num_classes' if decoder == 'unet' else 'decoder_chan'
            raise SectionError(
                key,
                f'{hyper["num_classes"]} classes and decoder_chan {hyper["decoder_chan"]} are '
                f'impossible with groups of {encoder.group_size} channels; {error}',
            ) from error
    return hyper


def _decoding(hyper: Hyper) -> Decoding:
    encoder = ENCODERS[hyper['encoder']]
    given = {field.name: hyper[field.name] for field in fields(Decoding) if field.name in hyper}
    return Decoding(
        norm=encoder.norm,
        group_size=encoder.group_size,
        shortcut_out=encoder.shortcut_out,
        **given,
    )


def _info(hyper: Hyper) -> NetworkInfo:
    coarsest = 16 if hyper['decoder'] == 'deeplabv3plus' else 32
    coarsest *= (2 if hyper['fast_down'] else 1) * (4 if hyper['use_extra_strides'] else 1)
    decoder = decoders.PAPERS[FUNCTIONS[hyper['decoder']]]
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        mean=(128.0,) * 3,
        std=(64.0,) * 3,
        channel_order=hyper['channel_order'],
        size_divisor=coarsest,
        smallest_size=coarsest,
        paper=f'{decoder}; {ENCODERS[hyper["encoder"]].paper}',
    )


FAMILY = Family(
    name='edgeailite',
    graph=edgeailite,
    keys=EdgeAILiteKeys,
    variants=VARIANTS,
    complete=complete,
    info=_info,
    original=Original(encoder=re.compile(r'encoder\.'), renamings=(regnet.TORCHVISION_NAMES,)),
    published=PUBLISHED,
)
