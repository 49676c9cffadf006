"""The networks of TI's EdgeAI-Lite: MobileNetV2 and RegNetX with light decoders.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision, models/pixel2pixel (deeplabv3plus_edgeailite.py,
unet_edgeailite.py, fpn_edgeailite.py) and models/multi_input_net.py; input statistics from
references/edgeailite/edgeai_xvision/xengine/train_pixel2pixel.py. A network's name is

    deeplabv3plus | unet_aspp | unet | fpn_aspp | fpn | fpn128_aspp | fpn128
    _ mobilenetv2_tv[_fd] | mobilenetv2_tv_1p4[_fd] | regnetx{400mf,800mf,1p6gf,3p2gf}[_bgr | _fd]
    _edgeailite

whose parts mean the same as in the original's names:

    1p4     1.4 times as many channels, and ReLU6 instead of ReLU, in the decoder too; the original
            spells it ``mobilenetv2_1p4_tv`` for FPN and ``mobilenetv2_tv_1p4`` for DeepLabV3+; here
            both spellings name the same network for all decoders
    fd      fast downsampling: height and width of the encoder's maps and of the logits are halved
    fpn128  128 channels in the decoder, and logits at 1/4 of the input's size even with fd
    aspp    atrous spatial pyramid pooling, which DeepLabV3+ always has. In a UNet or FPN without
            it, two more levels, at twice and four times the encoder's stride, replace it
            (``use_extra_strides``); the input's size must then be a multiple of 128 (256 with fd)
    bgr     the same network with BGR input; in the original, the suffix only reminds the user that
            pycls's encoders take BGR images

With a RegNetX, the decoder's 3x3 convolutions are grouped. The number of groups is the number of
channels divided by the encoder's group width, rounded down. If the width does not divide the
channels, the groups are wider than the encoder's; if the number of groups does not divide them
either, the network cannot be built (:data:`IMPOSSIBLE_PAIRS`). In a UNet the channels depend on the
number of classes: :func:`complete` rejects an impossible number, and networks that cannot have 19
classes have another default (:data:`OTHER_NUM_CLASSES`).

With the keys of :class:`common.tasks.TaskKeys`, a network has two input pictures
(:mod:`models.encoders.streams`) or several tasks. Each task has a decoder of its own,
``decoders/0``, ``decoders/1`` and so on, all of one kind, which read the same maps of the encoder.

Differs from the original: outputs are returned at the decoder's size, and the caller does the last
upsampling, bilinear by a whole factor; a ``bgr`` network has the channel order in its
:class:`models.family.NetworkInfo`, not in a separate flag; each decoder starts from the encoder's
maps, while the original's UNet and FPN write into the list that all decoders share, so that a
second one fails; a UNet of two inputs takes both streams' finest maps as shortcut without being
told the number of channels; all RegNetX and both widths of MobileNetV2 take two inputs; with the
keys of inputs and tasks, the groups of a UNet's levels are as much wider than the encoder's as it
takes to split the channels evenly, so that every UNet has every task.
Networks with ResNet-50 or BiFPN are not implemented, nor those with ``ericsun``, an encoder that is
not published.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, TypeVar

import nnabla as nn

from common.sections import SectionError, config_key
from common.tasks import CLASSES, SEGMENTATION, Task, TaskKeys
from layers import functions as L
from layers import tasks as task_layers
from models import edgeailite_decoders as decoders
from models.edgeailite_blocks import group_count
from models.edgeailite_checkpoints import initial_names, structure_of
from models.edgeailite_decoders import DecoderOptions
from models.edgeailite_encoders import ENCODERS
from models.edgeailite_published import PUBLISHED
from models.encoders import mobilenetv2, regnet, streams
from models.family import Family, Hyper, NetworkInfo, Original


@dataclass(frozen=True, kw_only=True)
class EdgeAILiteKeys(TaskKeys):
    """Inputs, tasks and hyper-parameters of the decoders."""

    use_aspp: bool | None = config_key(
        None,
        'whether the decoder has atrous spatial pyramid pooling (ASPP)',
        default_text='true for DeepLabV3+ and names with aspp, else false',
    )
    use_extra_strides: bool | None = config_key(
        None,
        'whether two more levels replace the ASPP; UNet and FPN only',
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
        'channels of each branch of the ASPP',
        least=1,
        default_text="the variant's decoder_chan",
    )
    aspp_dil: tuple[int, int, int] = config_key(
        (6, 12, 18), 'dilations of the three dilated branches of the ASPP', least=1
    )


Map = TypeVar('Map')  # a Variable, or the number of its channels


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
DECODER_FUNCTIONS: dict[str, decoders.Decoder] = {
    'deeplabv3plus': decoders.deeplabv3plus,
    'unet': decoders.unet,
    'fpn': decoders.fpn,
    'fpn128': decoders.fpn,
}
# Pairs of decoder and encoder that cannot be built for any number of classes.
IMPOSSIBLE_PAIRS = {('fpn128', 'regnetx1p6gf')}
# Default number of classes: Cityscapes' 19, or ADE20K32's 32 if 19 is impossible.
NUM_CLASSES = 19
OTHER_NUM_CLASSES = {('unet', 'regnetx400mf'): 32, ('unet', 'regnetx3p2gf'): 32}
DEFAULTS = dict(
    fast_down=False,
    channel_order='rgb',
    use_aspp=True,
    use_extra_strides=False,
)


def _variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the hyper-parameters of every possible network."""
    for (decoder_name, decoder), (encoder_name, encoder) in product(
        DECODERS.items(), ENCODER_NAMES.items()
    ):
        pair = decoder['decoder'], encoder['encoder']
        if pair not in IMPOSSIBLE_PAIRS:
            num_classes = OTHER_NUM_CLASSES.get(pair, NUM_CLASSES)
            name = f'{decoder_name}_{encoder_name}_edgeailite'
            yield name, dict(num_classes=num_classes, **decoder, **encoder)


VARIANTS = dict(_variants())


def edgeailite(x: nn.Variable, build: L.Build, **hyper: Any) -> list[nn.Variable]:
    """Build the whole network.

    Args:
        x: Normalised image, (N, 3, H, W), or the pictures of a scene, (N, 3 * inputs, H, W).
        build: Options of the build.
        **hyper: Hyper-parameters from :func:`complete`.

    Returns:
        For each task (N, channels, H / s, W / s): logits, or depth in metres. The stride s is 4, or
        2 for a UNet. Fast downsampling doubles it, except for ``fpn128``.
    """
    encoder, inputs = ENCODERS[hyper['encoder']], hyper.get('inputs', 1)
    last_stride = 1 if hyper['decoder'] == 'deeplabv3plus' else 2
    with L.scope('encoder'), L.scope('features'):
        maps = encoder.features(
            x, build, inputs, last_stride=last_stride, fast_down=hyper['fast_down']
        )
    *finer, last = select_maps(maps, hyper)
    decode, outputs = DECODER_FUNCTIONS[hyper['decoder']], []
    for i, task in enumerate(tasks_of(hyper)):
        own = [*finer, task_layers.tap(last, task.name, build)]
        with L.scope('decoders'), L.scope(str(i)):
            outputs.append(decode(own, build, _decoder_options(hyper, task)))
    return task_layers.join(outputs, build)


def tasks_of(hyper: Hyper) -> tuple[Task, ...]:
    """Return the tasks of a network: segmentation, if the hyper-parameters do not name any."""
    alone = Task(SEGMENTATION, CLASSES, hyper['num_classes'])
    return TaskKeys.of_config(hyper) or (alone,)


def select_maps(maps: Sequence[Map], hyper: Mapping[str, Any]) -> list[Map]:
    """Return the maps of the encoder that the decoder reads, finest first.

    Args:
        maps: The five maps of the encoder, or their numbers of channels, finest first.
        hyper: Hyper-parameters of the network.
    """
    if hyper['decoder'] == 'deeplabv3plus':
        return [maps[1], maps[-1]]
    whole = hyper['decoder'] == 'unet' or (hyper['decoder'] == 'fpn128' and hyper['fast_down'])
    return list(maps if whole else maps[1:])


def complete(hyper: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults that depend on the variant, and check the hyper-parameters together.

    Args:
        hyper: Checked values of the variant and the config.

    Returns:
        All hyper-parameters.

    Raises:
        SectionError: Two hyper-parameters contradict each other, or the channels do not split into
            the encoder's groups.
    """
    encoder, decoder = ENCODERS[hyper['encoder']], hyper['decoder']
    width = encoder.narrow_chan if decoder == 'fpn128' else encoder.decoder_chan
    hyper = {**DEFAULTS, 'decoder_chan': width, 'aspp_chan': width, **hyper}
    if hyper['use_extra_strides'] and (hyper['use_aspp'] or decoder == 'deeplabv3plus'):
        raise SectionError(
            'use_extra_strides', 'only a UNet or FPN with use_aspp: false has extra strides'
        )
    maps = select_maps(streams.map_channels(encoder.maps, hyper.get('inputs', 1)), hyper)
    options = _decoder_options(hyper, tasks_of(hyper)[0])
    for channels in decoders.grouped_channels(DECODER_FUNCTIONS[decoder], maps, options):
        try:
            group_count(channels, encoder.group_size)
        except ValueError as error:
            key = 'num_classes' if decoder == 'unet' else 'decoder_chan'
            raise SectionError(
                key,
                f'{hyper["num_classes"]} classes and decoder_chan {hyper["decoder_chan"]} are '
                f'impossible with groups of {encoder.group_size} channels; {error}',
            ) from error
    return hyper


def _decoder_options(hyper: Hyper, task: Task) -> DecoderOptions:
    """Return the options of a task's decoder from the hyper-parameters of the network."""
    encoder = ENCODERS[hyper['encoder']]
    given = {
        field.name: hyper[field.name] for field in fields(DecoderOptions) if field.name in hyper
    }
    return DecoderOptions(
        output_channels=task.channels,
        output_range=task.range,
        norm=encoder.norm,
        group_size=encoder.group_size,
        widen_groups=hyper['decoder'] == 'unet' and ('tasks' in hyper or 'inputs' in hyper),
        shortcut_out=encoder.shortcut_out,
        **given,
    )


def _info(hyper: Hyper) -> NetworkInfo:
    stride = 16 if hyper['decoder'] == 'deeplabv3plus' else 32
    stride *= (2 if hyper['fast_down'] else 1) * (4 if hyper['use_extra_strides'] else 1)
    decoder = decoders.PAPERS[DECODER_FUNCTIONS[hyper['decoder']]]
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        mean=(128.0,) * 3,
        std=(64.0,) * 3,
        channel_order=hyper['channel_order'],
        size_divisor=stride,
        smallest_size=stride,
        paper=f'{decoder}; {ENCODERS[hyper["encoder"]].paper}',
        inputs=hyper.get('inputs', 1),
        tasks=tasks_of(hyper),
    )


FAMILY = Family(
    name='edgeailite',
    graph=edgeailite,
    keys=EdgeAILiteKeys,
    variants=VARIANTS,
    complete=complete,
    info=_info,
    original=Original(
        encoder=re.compile(r'encoder\.'),
        structure=structure_of,
        initial_names=initial_names,
        renamings=(regnet.TORCHVISION_NAMES, mobilenetv2.TIMM_NAMES),
    ),
    published=PUBLISHED,
)
