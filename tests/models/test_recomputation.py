"""Recomputation saves memory and changes no number: all policies, bit for bit."""

import pytest

import models
from support import network_checks

ONE_OF_EACH_FAMILY = {
    'd3net_t': {},
    'ddrnet23_slim_aux': dict(planes=4, spp_planes=4, head_planes=4),
    'dabnet_r18_p2': {},
    'csail_resnet18dilated8_ppm_deepsup': {},
    'deeplabv3plus_mobilenetv2_tv_edgeailite': {},
    'fpn_aspp_regnetx400mf_edgeailite': {},
}


@pytest.mark.parametrize('name', ONE_OF_EACH_FAMILY)
def test_no_policy_changes_a_bit(name):
    network_checks.check_recomputation(name, **ONE_OF_EACH_FAMILY[name])


@pytest.mark.whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', sorted(set(models.names()) - set(ONE_OF_EACH_FAMILY) - {'d3net'}))
def test_no_policy_changes_a_bit_of_any_network(name):
    network_checks.check_recomputation(name)
