"""Encoders of the EdgeAI-Lite networks, with the options of the decoders that depend on them.

Reference: see :mod:`models.edgeailite`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import nnabla as nn

from layers import functions as L
from models.encoders import mobilenetv2, regnet, streams
from models.encoders.streams import Stage


@dataclass(frozen=True)
class EdgeAILiteEncoder:
    """An encoder with the decoder options that depend on it.

    Attributes:
        stages: ``stages(last_stride=..., fast_down=...)`` returns the five stages.
        maps: Channels of the maps of the five stages.
        paper: Authors, venue and arXiv number of the paper.
        decoder_chan: Default for the channels of the decoder.
        narrow_chan: Default for the channels of the decoder of fpn128.
        shortcut_out: Channels of DeepLabV3+'s shortcut.
        group_size: Channels of a group of the decoder's 3x3 convolutions; None for depthwise ones.
        norm: Batch norm with the network's activation.
        of_streams: Further arguments of ``stages`` for networks with several inputs.
    """

    stages: Callable[..., list[Stage]]
    maps: tuple[int, ...]
    paper: str
    decoder_chan: int = 256
    narrow_chan: int = 128
    shortcut_out: int = 48
    group_size: int | None = None
    norm: L.Norm = L.bn_relu
    of_streams: Mapping[str, Any] = field(default_factory=dict)

    def features(
        self, x: nn.Variable, build: L.Build, inputs: int = 1, **options: Any
    ) -> list[nn.Variable]:
        """Compute the five maps, finest first.

        Args:
            x: Normalised pictures stacked over channels, (N, 3 * inputs, H, W).
            build: Options of the build.
            inputs: Number of pictures.
            **options: ``last_stride`` and ``fast_down`` of the stages.
        """
        stages = self.stages(**options, **(self.of_streams if inputs > 1 else {}))
        return streams.run_streams(x, inputs, stages, build)


def _mobilenetv2_encoder(width: float = 1.0, norm: L.Norm = L.bn_relu) -> EdgeAILiteEncoder:
    """Return a MobileNetV2 of the given width."""
    decoder, narrow, shortcut = (
        mobilenetv2.scale_channels(count, width) for count in (256, 128, 48)
    )
    stages = partial(mobilenetv2.stages, width=width, norm=norm)
    maps = mobilenetv2.map_channels(width)
    return EdgeAILiteEncoder(stages, maps, mobilenetv2.PAPER, decoder, narrow, shortcut, norm=norm)


def _regnet_encoder(name: str, decoder_chan: int = 256) -> EdgeAILiteEncoder:
    """Return a RegNetX by its name in the table of variants."""
    variant = regnet.VARIANTS[name]
    return EdgeAILiteEncoder(
        partial(regnet.stages, **variant),
        variant['widths'],
        regnet.PAPER,
        decoder_chan,
        group_size=variant['group_width'],
        of_streams={'scopes': regnet.STREAM_SCOPES},
    )


ENCODERS = {
    'mobilenetv2_tv': _mobilenetv2_encoder(),
    'mobilenetv2_tv_1p4': _mobilenetv2_encoder(1.4, L.bn_relu6),
    'regnetx400mf': _regnet_encoder('regnetx400mf'),
    'regnetx800mf': _regnet_encoder('regnetx800mf'),
    'regnetx1p6gf': _regnet_encoder('regnetx1p6gf', decoder_chan=264),
    'regnetx3p2gf': _regnet_encoder('regnetx3p2gf', decoder_chan=288),
}
