"""Decoders of the EdgeAI-Lite networks: DeepLabV3+, UNet and FPN of separable convolutions.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/pixel2pixel, deeplabv3plus_edgeailite.py,
unet_edgeailite.py and fpn_edgeailite.py. A decoder takes maps of the encoder, finest first, and
returns logits at the size of the finest of them.

Differs from the original: a map is taken by its place, not searched for by its shape, which is the
same for all sizes that the networks accept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import nnabla as nn

from layers import functions as L
from models.edgeailite_blocks import aspp, prediction, separable, unit


@dataclass(frozen=True)
class Decoding:
    """How a network is decoded; names as in the reference's configuration.

    norm: batch norm with the network's activation. group_size: of the 3x3 convolutions; None makes
    them depthwise. use_aspp, use_extra_strides: see :func:`coarsest`. decoder_chan, aspp_chan:
    channels of the decoder and of the branches of the ASPP, which are dilated by ``aspp_dil``.
    shortcut_out: channels of DeepLabV3+'s shortcut.
    """

    num_classes: int
    norm: L.Norm
    group_size: int | None
    shortcut_out: int
    use_aspp: bool
    use_extra_strides: bool
    decoder_chan: int
    aspp_chan: int
    aspp_dil: tuple[int, ...]


# Maps of the encoder, build, how -> logits.
Decoder: TypeAlias = Callable[[Sequence[nn.Variable], L.Build, Decoding], nn.Variable]


def deeplabv3plus(maps: Sequence[nn.Variable], build: L.Build, how: Decoding) -> nn.Variable:
    """DeepLabV3+ without convolutions between the concatenation and the prediction.

    maps: the one at a quarter of the input's size and, four times smaller, the last.
    """
    shortcut, x = maps
    if how.use_aspp:
        x = pyramid_pooling(x, 'aspp', build, how)
    shortcut = unit(shortcut, how.shortcut_out, 1, 'shortcut', build, how.norm)
    x = L.resize(x, L.size_of(shortcut, build), build)
    x = L.concatenate(x, shortcut, build=build)
    return prediction(x, how.num_classes, 'pred', build, how.group_size)


def unet(maps: Sequence[nn.Variable], build: L.Build, how: Decoding) -> nn.Variable:
    """UNet: each map is concatenated as it is to what was decoded so far, doubled in size; a
    separable convolution brings both to the map's number of channels, or :func:`least_channels`.
    """
    shortcuts, x = coarsest(maps, build, how)
    for i, shortcut in enumerate(reversed(shortcuts), 1):
        channels = max(least_channels(how.num_classes), L.channels_of(shortcut, build))
        x = L.resize(x, L.size_of(shortcut, build), build)
        x = L.concatenate(x, shortcut, build=build)
        x = separable(x, channels, f'unet/smooth_convs/{i}', build, how.norm, how.group_size)
    return prediction(x, how.num_classes, 'pred', build, how.group_size)


def fpn(maps: Sequence[nn.Variable], build: L.Build, how: Decoding) -> nn.Variable:
    """Feature pyramid: each map, brought to ``decoder_chan`` channels, is added to what was decoded
    so far, doubled in size; a separable convolution smoothes the sum for the next.
    """
    width = how.decoder_chan
    shortcuts, x = coarsest(maps, build, how)
    for i, shortcut in enumerate(reversed(shortcuts), 1):
        shortcut = unit(shortcut, width, 1, f'fpn/shortcuts/{i}', build, how.norm)
        x = L.resize(x, L.size_of(shortcut, build), build) + shortcut
        x = separable(x, width, f'fpn/smooth_convs/{i}', build, how.norm, how.group_size)
    return prediction(x, how.num_classes, 'pred', build, how.group_size)


def coarsest(
    maps: Sequence[nn.Variable], build: L.Build, how: Decoding
) -> tuple[list[nn.Variable], nn.Variable]:
    """The shortcuts, finest first, and what decoding starts from, with ``decoder_chan`` channels.

    That is the last map after the ASPP; or with extra strides two levels more, the first of which
    is a shortcut too, and so is the last map; or the last map after a 1x1 convolution, which is
    followed by ReLU even in networks of ReLU6.
    """
    *shortcuts, x = maps
    if how.use_aspp:
        return shortcuts, pyramid_pooling(x, 'rfblock', build, how)
    if how.use_extra_strides:
        halved = partial(separable, build=build, norm=how.norm, group_size=how.group_size, stride=2)
        level = halved(x, L.channels_of(x, build), 'rfblock/0')
        return [*maps, level], halved(level, how.decoder_chan, 'rfblock/1')
    return shortcuts, unit(x, how.decoder_chan, 1, 'rfblock', build)


def pyramid_pooling(x: nn.Variable, name: str, build: L.Build, how: Decoding) -> nn.Variable:
    """The ASPP, which ends with ``decoder_chan`` channels."""
    sizes = how.aspp_chan, how.decoder_chan, how.aspp_dil
    return aspp(x, *sizes, name, build, how.norm, how.group_size)


def least_channels(num_classes: int) -> int:
    """How many channels every level of the UNet has at least."""
    return max(2 * num_classes, 32)


def grouped_channels(decoder: Decoder, maps: list[int], how: Decoding) -> list[int]:
    """Channels of all grouped convolutions of a decoder that takes maps of ``maps`` channels."""
    if decoder is deeplabv3plus:
        x = how.decoder_chan if how.use_aspp else maps[-1]
        return [maps[-1]] * how.use_aspp + [x + how.shortcut_out]
    context = [maps[-1]] * (how.use_aspp or how.use_extra_strides)
    if decoder is fpn:
        return [*context, how.decoder_chan]
    levels, x = [], how.decoder_chan
    for shortcut in reversed([*maps, maps[-1]] if how.use_extra_strides else maps[:-1]):
        levels.append(x + shortcut)
        x = max(least_channels(how.num_classes), shortcut)
    return [*context, *levels, x]


PAPERS: dict[Decoder, str] = {
    deeplabv3plus: 'Chen et al., ECCV 2018, arXiv:1802.02611',
    unet: 'Ronneberger et al., MICCAI 2015, arXiv:1505.04597',
    fpn: 'Lin et al., CVPR 2017, arXiv:1612.03144',
}
