"""In which order processes come to what they must do together."""

import nnabla as nn
import pytest

import models
from engine.distributed import communicators
from layers import functions as L
from support import stand_ins

ONE_OF_EACH_FAMILY = (
    'd3net_t',
    'ddrnet23_slim_aux',
    'dabnet_r18_p2',
    'csail_resnet18dilated8_ppm_deepsup',
    'csail_resnet50_upernet',
    'fpn_aspp_regnetx400mf_edgeailite',
)
SIZES = ((1, 1), (1, 3), (2, 1), (3, 3), (4, 7))  # in units of what a network takes


class Twins:
    """Stands for the communicator of two processes."""

    size, nnabla = 2, None


def check_order(name):
    network, orders = models.create(name), set()
    unit = max(network.info.smallest_size, network.info.size_divisor)
    unit = -(-unit // network.info.size_divisor) * network.info.size_divisor
    for size in SIZES:
        image = nn.Variable((2, 3, *(unit * n for n in size)))
        with stand_ins.zero_parameters():
            outputs = network(image, train=True, communicator=Twins())
        loss = sum((L.mean_all(y) for y in outputs[1:]), L.mean_all(outputs[0]))
        orders.add(communicators.sync_batch_norm_order(loss))
    (order,) = orders
    names = nn.get_parameters(grad_only=False)
    layers = [n.removesuffix('/beta') for n in names if n.endswith('/bn/beta')]
    assert sorted(order) == sorted(2 * layers)  # forward and backward


@pytest.mark.parametrize('name', ONE_OF_EACH_FAMILY)
def test_the_order_of_batch_norms_does_not_depend_on_the_size_of_images(name):
    check_order(name)


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', sorted(set(models.names()) - set(ONE_OF_EACH_FAMILY) - {'d3net'}))
def test_the_order_of_batch_norms_in_every_network(name):
    check_order(name)
