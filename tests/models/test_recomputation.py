"""Recomputation changes no bit of gradients and statistics; gradients reach every parameter."""

import pytest

import models
from support import network_checks, stand_ins

# One of each family and decoder, with fewer channels where hyper-parameters allow it.
ONE_OF_EACH_KIND = {
    'd3net': stand_ins.TINY,
    'ddrnet23_slim_aux': dict(planes=4, spp_planes=4, head_planes=4),
    'dabnet_r18_p2': dict(sim_channels=[4, 4, 4, 4]),
    'csail_resnet18_upernet_lite': dict(fpn_dim=8),
    'deeplabv3plus_mobilenetv2_tv_edgeailite': {},
    'fpn_aspp_regnetx400mf_edgeailite': dict(decoder_chan=64, aspp_chan=64),
}


@pytest.mark.parametrize('name', ONE_OF_EACH_KIND)
def test_gradients_reach_every_parameter_and_no_policy_changes_a_bit(name):
    step = network_checks.check_recomputation(name, **ONE_OF_EACH_KIND[name])
    network_checks.check_step(*step)


@pytest.mark.whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', sorted(set(models.names()) - {'d3net'}))
def test_no_policy_changes_a_bit_of_any_network(name):
    network_checks.check_recomputation(name)
