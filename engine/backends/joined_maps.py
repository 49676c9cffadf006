"""Join the maps of all tasks of a network, so that every backend has one output."""

from typing import Any

import nnabla as nn
import nnabla.functions as F

from models import Network


def joined_maps(network: Network, x: nn.Variable, **options: Any) -> nn.Variable:
    """Build the graph of a network with one output.

    Args:
        network: The network, whose decoders all have the same resolution.
        x: (N, 3k, H, W) float32, normalised: the k pictures of a scene.
        **options: Fields of :class:`layers.build.Build`.

    Returns:
        (N, channels, h, w): the maps of the tasks, one after the other; of a network with one
        task, its output as it is. :func:`common.tasks.channel_slices` has the channels of each.
    """
    maps = network(x, **options)
    return maps[0] if len(maps) == 1 else F.concatenate(*maps, axis=1)
