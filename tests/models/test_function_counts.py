"""Number of functions in evaluation graphs: on a GPU, each costs NNabla about 30 us to launch."""

import nnabla as nn
import pytest

import models
from layers.graph import count_functions
from support import stand_ins

# Maximum number of functions on a GPU and on the CPU.
MAX_FUNCTIONS = {
    'd3net_s': (723, 952),
    'csail_resnet18_c1': (50, 78),
    'csail_resnet50dilated8_ppm_deepsup': (131, 312),
    'dabnet_r18_p2': (204, 267),
    'dabnet_e': (494, 553),
    'ddrnet23_slim': (142, 194),
    'deeplabv3plus_mobilenetv2_tv_edgeailite': (136, 200),
    'unet_mobilenetv2_tv_1p4_edgeailite': (209, 235),
    'unet_regnetx800mf_edgeailite': (153, 234),
    'fpn_aspp_regnetx1p6gf_edgeailite': (162, 252),
}

MAX_FUNCTIONS_OF_DEEP_NETWORKS = {
    'd3net_l': (899, 1184),
    'csail_resnet101_upernet': (257, 513),
    'ddrnet39': (205, 294),
}


@pytest.mark.parametrize('name', MAX_FUNCTIONS)
def test_an_evaluation_graph_has_no_more_functions(name):
    check_functions(name, MAX_FUNCTIONS[name])


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', MAX_FUNCTIONS_OF_DEEP_NETWORKS)
def test_the_graph_of_a_deep_network_has_no_more_functions(name):
    check_functions(name, MAX_FUNCTIONS_OF_DEEP_NETWORKS[name])


def check_functions(name, limits):
    network, x = models.create(name), nn.Variable((1, 3, 512, 512))
    with stand_ins.zero_parameters():
        counts = [count_functions(network(x, cuda=cuda)[0]) for cuda in (True, False)]
    assert all(count <= limit for count, limit in zip(counts, limits)), counts
