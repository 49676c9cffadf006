"""Decoders of the EdgeAI-Lite networks: DeepLabV3+, UNet and FPN of separable convolutions.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/pixel2pixel, deeplabv3plus_edgeailite.py,
unet_edgeailite.py and fpn_edgeailite.py. A decoder takes maps of the encoder, finest first, and
returns logits at the size of the finest map.

Differs from the original: a map is taken by its place, not searched for by its shape, which is the
same for all sizes that the networks accept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import nnabla as nn

from layers import functions as L
from layers import tasks as task_layers
from models.edgeailite_blocks import (
    aspp,
    conv_bn_sequence,
    prediction,
    separable,
    widened_group_size,
)


@dataclass(frozen=True)
class DecoderOptions:
    """Options of a decoder, named as in the reference's configuration.

    Attributes:
        output_channels: Number of classes; 1 for depth.
        output_range: Smallest and largest output, to which others are clamped; None for any.
        norm: Batch norm with the network's activation.
        group_size: Channels of a group of the 3x3 convolutions; None for depthwise convolutions.
        widen_groups: Whether the groups of a UNet's levels may be wider, so that all numbers of
            channels split into groups.
        shortcut_out: Channels of DeepLabV3+'s shortcut.
        use_aspp: See :func:`receptive_field_block`.
        use_extra_strides: See :func:`receptive_field_block`.
        decoder_chan: Channels of the decoder.
        aspp_chan: Channels of a branch of the ASPP.
        aspp_dil: Dilations of the branches of the ASPP.
    """

    output_channels: int
    output_range: tuple[float, float] | None
    norm: L.Norm
    group_size: int | None
    widen_groups: bool
    shortcut_out: int
    use_aspp: bool
    use_extra_strides: bool
    decoder_chan: int
    aspp_chan: int
    aspp_dil: tuple[int, ...]

    def group_size_of(self, channels: int) -> int | None:
        """Return the width of a group of a 3x3 convolution of so many input channels."""
        if self.widen_groups:
            return widened_group_size(channels, self.group_size)
        return self.group_size


# Function of the encoder's maps, build and options that returns logits.
Decoder: TypeAlias = Callable[[Sequence[nn.Variable], L.Build, DecoderOptions], nn.Variable]


def deeplabv3plus(
    maps: Sequence[nn.Variable], build: L.Build, options: DecoderOptions
) -> nn.Variable:
    """Decode as DeepLabV3+, without convolutions between the concatenation and the prediction.

    Args:
        maps: A fine map and the last map, four times smaller.
        build: Options of the build.
        options: Options of the decoder.

    Returns:
        Logits at the size of the fine map.
    """
    shortcut, x = maps
    if options.use_aspp:
        x = pyramid_pooling(x, 'aspp', build, options)
    shortcut = conv_bn_sequence(shortcut, options.shortcut_out, 1, 'shortcut', build, options.norm)
    x = L.resize(x, L.size_of(shortcut, build), build)
    return predict(L.concatenate(x, shortcut, build=build), build, options)


def unet(maps: Sequence[nn.Variable], build: L.Build, options: DecoderOptions) -> nn.Variable:
    """Decode as a UNet.

    At each level, the decoded map is doubled in size and concatenated to the encoder's map. A
    separable convolution reduces both to the channels of the encoder's map, but not below
    :func:`min_unet_channels`.
    """
    shortcuts, x = receptive_field_block(maps, build, options)
    for i, shortcut in enumerate(reversed(shortcuts), 1):
        channels = max(min_unet_channels(options.output_channels), L.channels_of(shortcut, build))
        x = L.resize(x, L.size_of(shortcut, build), build)
        x = L.concatenate(x, shortcut, build=build)
        group_size = options.group_size_of(L.channels_of(x, build))
        x = separable(x, channels, f'unet/smooth_convs/{i}', build, options.norm, group_size)
    return predict(x, build, options)


def fpn(maps: Sequence[nn.Variable], build: L.Build, options: DecoderOptions) -> nn.Variable:
    """Decode as a feature pyramid.

    At each level, the decoded map is doubled in size and added to the encoder's map, which has been
    projected to ``decoder_chan`` channels. A separable convolution smoothes the sum.
    """
    width = options.decoder_chan
    shortcuts, x = receptive_field_block(maps, build, options)
    for i, shortcut in enumerate(reversed(shortcuts), 1):
        shortcut = conv_bn_sequence(shortcut, width, 1, f'fpn/shortcuts/{i}', build, options.norm)
        x = L.resize(x, L.size_of(shortcut, build), build) + shortcut
        x = separable(x, width, f'fpn/smooth_convs/{i}', build, options.norm, options.group_size)
    return predict(x, build, options)


def receptive_field_block(
    maps: Sequence[nn.Variable], build: L.Build, options: DecoderOptions
) -> tuple[list[nn.Variable], nn.Variable]:
    """Return the shortcuts, finest first, and the first map to decode.

    The first map to decode has ``decoder_chan`` channels. If ``use_aspp`` is set, this map is the
    last map after the ASPP. If ``use_extra_strides`` is set, two more levels follow the last map.
    The second level is the map to decode; the last map and the first level are shortcuts too.
    Otherwise this map is a 1x1 convolution of the last map, with ReLU even in networks with ReLU6.
    """
    *shortcuts, x = maps
    if options.use_aspp:
        return shortcuts, pyramid_pooling(x, 'rfblock', build, options)
    if options.use_extra_strides:
        halved = partial(
            separable, build=build, norm=options.norm, group_size=options.group_size, stride=2
        )
        level = halved(x, L.channels_of(x, build), 'rfblock/0')
        return [*maps, level], halved(level, options.decoder_chan, 'rfblock/1')
    return shortcuts, conv_bn_sequence(x, options.decoder_chan, 1, 'rfblock', build)


def pyramid_pooling(
    x: nn.Variable, name: str, build: L.Build, options: DecoderOptions
) -> nn.Variable:
    """Apply the ASPP with ``decoder_chan`` output channels.

    Args:
        x: (N, C, H, W).
        name: Scope of the block.
        build: Options of the build.
        options: Options of the decoder.
    """
    sizes = options.aspp_chan, options.decoder_chan, options.aspp_dil
    return aspp(x, *sizes, name, build, options.norm, options.group_size)


def predict(x: nn.Variable, build: L.Build, options: DecoderOptions) -> nn.Variable:
    """Compute the output of a decoder from its last map, at the map's size.

    Args:
        x: (N, C, H, W).
        build: Options of the build.
        options: Options of the decoder.

    Returns:
        (N, output_channels, H, W).
    """
    group_size = options.group_size_of(L.channels_of(x, build))
    x = prediction(x, options.output_channels, 'pred', build, group_size)
    return task_layers.clamp(x, options.output_range)


def min_unet_channels(output_channels: int) -> int:
    """Return the minimum number of channels of a level of the UNet."""
    return max(2 * output_channels, 32)


def grouped_channels(decoder: Decoder, maps: list[int], options: DecoderOptions) -> list[int]:
    """Return the numbers of input channels that the grouped convolutions of a decoder have.

    Args:
        decoder: The decoder's function.
        maps: Channels of the encoder's maps that the decoder takes, finest first.
        options: Options of the decoder.

    Returns:
        Numbers of input channels, those of :func:`receptive_field_block` first. A number that
        several convolutions have may occur once only. Convolutions whose groups may be wider are
        left out.
    """
    if decoder is deeplabv3plus:
        x = options.decoder_chan if options.use_aspp else maps[-1]
        return [maps[-1]] * options.use_aspp + [x + options.shortcut_out]
    context = [maps[-1]] * (options.use_aspp or options.use_extra_strides)
    if decoder is fpn:
        return [*context, options.decoder_chan]
    if options.widen_groups:
        return context
    levels, x = [], options.decoder_chan
    for shortcut in reversed([*maps, maps[-1]] if options.use_extra_strides else maps[:-1]):
        levels.append(x + shortcut)
        x = max(min_unet_channels(options.output_channels), shortcut)
    return [*context, *levels, x]


PAPERS: dict[Decoder, str] = {
    deeplabv3plus: 'Chen et al., ECCV 2018, arXiv:1802.02611',
    unet: 'Ronneberger et al., MICCAI 2015, arXiv:1505.04597',
    fpn: 'Lin et al., CVPR 2017, arXiv:1612.03144',
}
