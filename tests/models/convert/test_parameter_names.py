"""The names and shapes of PyTorch parameters in NNabla, and back."""

import numpy as np
import pytest

import models
from models.convert import matching
from support import conversions

REFERENCES = [
    'csail_resnet101_upernet',
    'csail_resnet101dilated8_ppm_deepsup',
    'csail_resnet18dilated16_c1_deepsup',
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet18dilated8_ppm_deepsup',
    'csail_resnet50_upernet',
    'csail_resnet50_upernet_lite',
    'csail_resnet50dilated16_c1',
    'csail_resnet50dilated8_ppm',
    'csail_resnet50dilated8_ppm_deepsup',
    'dabnet_e',
    'dabnet_r18_p1',
    'dabnet_r18_p16',
    'dabnet_r18_p2',
    'dabnet_r18_p8',
    'ddrnet23',
    'ddrnet23_aux',
    'ddrnet23_slim',
    'ddrnet23_slim_aux',
    'ddrnet39',
    'ddrnet39_aux',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'deeplabv3plus_regnetx800mf_edgeailite',
    'fpn_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx1p6gf_edgeailite',
    'fpn_aspp_regnetx3p2gf_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn_aspp_regnetx800mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
]
ONE_OF_EACH_KIND = {
    'csail_resnet18dilated8_c1_deepsup',
    'csail_resnet50_upernet_lite',
    'csail_resnet50dilated8_ppm_deepsup',
    'dabnet_e',
    'dabnet_r18_p2',
    'ddrnet23_slim_aux',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
}


def test_every_reference_is_listed(shared):
    names = {path.stem for path in (shared / 'reference').glob('*.json')}
    assert names - {'d3net_l', 'd3net_s'} == set(REFERENCES)


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name in ONE_OF_EACH_KIND else pytest.mark.whole_registry)
        for name in REFERENCES
    ],
)
def test_names_and_shapes_of_a_network_are_those_of_its_reference(shared, name):
    state = [e for e in conversions.reference(shared, name)['state'] if e[2] != 'skip']
    own = matching.network_shapes(name)
    assert own == {n: tuple(shape) for n, shape, _ in state}
    mapped = models.convert.names({n: None for n, _, _ in state})
    assert [models.convert.reference_name(n) for n in mapped.values()] == list(mapped)


def test_to_pytorch_is_the_inverse_of_from_pytorch():
    state = {
        'layer1.0.conv1.weight': np.arange(24).reshape(2, 3, 2, 2),
        'layer1.0.conv1.bias': np.arange(2),
        'layer1.0.bn.weight': np.arange(3),
        'layer1.0.bn.bias': np.arange(3),
        'layer1.0.bn.running_mean': np.arange(3),
        'layer1.0.bn.running_var': np.arange(3),
        'layer1.0.bn.num_batches_tracked': np.array(3),
    }
    arrays = models.convert.from_pytorch('ddrnet23', state)
    assert {n: a.shape for n, a in arrays.items()} == {
        'layer1/0/conv1/conv/W': (2, 3, 2, 2),
        'layer1/0/conv1/conv/b': (2,),
        'layer1/0/bn/bn/gamma': (1, 3, 1, 1),
        'layer1/0/bn/bn/beta': (1, 3, 1, 1),
        'layer1/0/bn/bn/mean': (1, 3, 1, 1),
        'layer1/0/bn/bn/var': (1, 3, 1, 1),
    }
    back = models.convert.to_pytorch('ddrnet23', arrays)
    del state['layer1.0.bn.num_batches_tracked']
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[n], state[n]) for n in state)


def test_names_of_other_layers_are_refused():
    for name in ('weight', 'a.weight_g', 'a.alpha', 'loss'):
        with pytest.raises(models.ModelError, match=f'{name} is not a parameter'):
            models.convert.from_pytorch('ddrnet23', {name: np.zeros(3)})
    for name in ('conv/W', 'a/conv/X', 'W', 'a/bn/W'):
        with pytest.raises(models.ModelError, match=f'{name} is not a parameter'):
            models.convert.to_pytorch('ddrnet23', {name: np.zeros(3)})


def test_d3net_has_no_pytorch_original():
    for function in (models.convert.from_pytorch, models.convert.to_pytorch):
        for name in ('d3net', 'd3net_s'):
            with pytest.raises(models.ModelError, match='no PyTorch original.*without conversion'):
                function(name, {})
