"""Encoders of several pictures: one stream of first stages a picture, fused into one.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models/multi_input_net.py. The first two stages exist
once for each picture, with parameters of their own. A depthwise and a 1x1 convolution, without
activations, fuse the concatenated maps of the streams. The other stages belong to the first stream.

Differs from the original: the fusion returns as many channels as a stream has, which is what the
next stage expects. The original always returns 24 with a MobileNetV2 and 64 with a RegNetX, so that
other widths fail.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import nnabla as nn

from layers import functions as L
from layers import tasks as task_layers
from models.edgeailite_blocks import linear_norm, separable

# A stage of an encoder: from a map to the next coarser one.
Stage: TypeAlias = Callable[[nn.Variable, L.Build], nn.Variable]

STREAM_STAGES = 2  # stages before the fusion


def run_stages(x: nn.Variable, stages: Sequence[Stage], build: L.Build) -> list[nn.Variable]:
    """Return the maps of all stages, finest first.

    Args:
        x: Input of the first stage, (N, C, H, W).
        stages: The stages.
        build: Options of the build.
    """
    maps: list[nn.Variable] = []
    for stage in stages:
        x = stage(x, build)
        maps.append(x)
    return maps


def run_streams(
    x: nn.Variable, inputs: int, stages: Sequence[Stage], build: L.Build
) -> list[nn.Variable]:
    """Return the maps of an encoder of several pictures, finest first.

    Args:
        x: Normalised pictures stacked over channels, (N, 3 * inputs, H, W).
        inputs: Number of pictures; with one, the encoder has one stream and no fusion.
        stages: All stages of the encoder.
        build: Options of the build.

    Returns:
        One map for each stage. Before the fusion, it is the concatenated maps of the streams.
    """
    if inputs == 1:
        return run_stages(x, stages, build)
    streams = []
    for i, picture in enumerate(task_layers.split_pictures(x, inputs, build)):
        with L.scope(f'stream{i}'):
            streams.append(run_stages(picture, stages[:STREAM_STAGES], build))
    *finer, last = (L.concatenate(*maps, build=build) for maps in zip(*streams))
    width = L.channels_of(streams[0][-1], build)
    fused = separable(last, width, 'streamfuse', build, linear_norm, None)
    with L.scope('stream0'):
        return [*finer, fused, *run_stages(fused, stages[STREAM_STAGES:], build)]


def map_channels(channels: Sequence[int], inputs: int) -> list[int]:
    """Return the channels of the maps that :func:`run_streams` returns.

    Args:
        channels: Channels of the stages of one stream.
        inputs: Number of pictures.
    """
    before = STREAM_STAGES - 1
    return [count * inputs for count in channels[:before]] + list(channels[before:])
