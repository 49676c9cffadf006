"""The plain form of D3Net's multidilated layers: contestant in the benchmarks, and what tests
compare with.

As the equations of the paper are read: a list of groups, each of which receives its own slice of
every earlier layer.
"""

from d3net import layers as L
from d3net.network import bn_relu_conv


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
