"""The plain form of D3Net's multidilated layers: contestant in the benchmarks, and what tests
compare with.

As the equations of the paper are read, and as the published code builds them: a list of groups,
each of which receives its own slice of every earlier layer.
"""

import nnabla as nn
import numpy as np

from d3net.network import bn_relu_conv
from layers import functions as L
from models import Network

NAME = 'plain'  # of the backend


class Plain:
    """The graph of a D3Net as the published code builds it, run by NNabla in the current context:
    the backend that the others' gain is stated against.
    """

    used = frozenset({NAME})

    def __init__(self, network: Network):
        self._network = network
        self._graphs: dict[tuple[int, ...], tuple[nn.Variable, nn.Variable]] = {}

    def run(self, x: np.ndarray) -> np.ndarray:
        """Normalised float32 (N, 3, H, W) -> logits (N, classes, h, w)."""
        if x.shape not in self._graphs:
            variable = nn.Variable(x.shape)
            self._graphs[x.shape] = variable, plain_logits(self._network, variable, L.Build())
        inputs, outputs = self._graphs[x.shape]
        inputs.d = x
        outputs.forward(clear_buffer=True)
        return np.array(outputs.d, np.float32)


def has_plain_form(network: Network) -> bool:
    """Whether the published code builds another graph than this project does."""
    return network.family.name == 'd3net'


def plain_logits(network: Network, x: nn.Variable, build: L.Build) -> nn.Variable:
    """The logits of a D3Net in its plain form."""
    return network.family.graph(x, build, layers=plain_layers, **network.hyper)[0]


def plain_layers(x, growth_rate, num_layers, build):
    """The same as :func:`d3net.network.multidilated_layers`, group by group."""

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
