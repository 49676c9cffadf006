"""The plain form of D3Net's multidilated layers, for benchmarks and as a reference in tests.

This form follows the equations of the paper and the published code: it is a list of groups, and
every group receives its own slice of every earlier layer.
"""

import nnabla as nn
import numpy as np

from d3net.network import bn_relu_conv
from layers import functions as L
from models import Network

NAME = 'plain'  # the value of --backend that selects this form


class PlainBackend:
    """A backend that runs D3Net's graph as the published code builds it, with NNabla.

    The backend uses the current context. The tables state the speed of the other backends relative
    to it.
    """

    used = frozenset({NAME})

    def __init__(self, network: Network):
        self._network = network
        self._graphs: dict[tuple[int, ...], tuple[nn.Variable, nn.Variable]] = {}

    def run(self, x: np.ndarray) -> np.ndarray:
        """Return the logits (N, classes, h, w) of a normalised float32 batch (N, 3, H, W)."""
        if x.shape not in self._graphs:
            variable = nn.Variable(x.shape)
            self._graphs[x.shape] = variable, plain_logits(self._network, variable, L.Build())
        inputs, outputs = self._graphs[x.shape]
        inputs.d = x
        outputs.forward(clear_buffer=True)
        return np.array(outputs.d, np.float32)


def has_plain_form(network: Network) -> bool:
    """Return whether the published code builds another graph than this project."""
    return network.family.name == 'd3net'


def plain_logits(network: Network, x: nn.Variable, build: L.Build) -> nn.Variable:
    """Build a D3Net in its plain form; return its logits."""
    return network.family.graph(x, build, layers=plain_layers, **network.hyper)[0]


def plain_layers(x, growth_rate, num_layers, build):
    """Build the layers of :func:`d3net.network.multidilated_layers` group by group.

    Args:
        x: Variable (N, num_layers * growth_rate, H, W).
        growth_rate: Channels of a group.
        num_layers: Number of groups.
        build: Options of the graph.

    Returns:
        The groups.
    """

    def group_of(tensor, index):
        return L.slice_channels(tensor, index * growth_rate, (index + 1) * growth_rate, build)

    groups = [group_of(x, index) for index in range(num_layers)]
    for i in range(1, num_layers):
        later = range(i, num_layers)
        with L.scope(f'layers/layer{i}'):
            new = bn_relu_conv(
                groups[i - 1], growth_rate * len(later), 3, 'bottle_neck', build, dilation=2**i
            )
        for index in later:
            groups[index] = groups[index] + group_of(new, index - i)
    return groups
