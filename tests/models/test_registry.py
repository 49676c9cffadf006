"""Networks by name, by hyper-parameters and from configs."""

from dataclasses import replace

import nnabla as nn
import pytest

import models
from common.errors import UserError
from engine import config
from layers import functions as L
from models import registry
from support import programs, stand_ins

# One of each family, encoder and decoder; test_every_network.py builds all.
ONE_OF_EACH_KIND = (
    'd3net',
    'd3net_t',
    'ddrnet23_slim_aux',
    'dabnet_r18_p1',
    'dabnet_e',
    'csail_resnet18_c1_deepsup',
    'csail_resnet18dilated8_ppm',
    'csail_resnet18_upernet_lite',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'unet_regnetx800mf_edgeailite',
    'fpn_aspp_regnetx400mf_bgr_edgeailite',
)


def create(name):
    return models.create(name, **(stand_ins.TINY if name == 'd3net' else {}))


def test_every_name_has_its_facts():
    for name in models.names():
        network = create(name)
        assert network.name == name
        assert network.info.channel_order in ('rgb', 'bgr')
        assert len(network.info.mean) == len(network.info.std) == 3
        assert network.info.paper


@pytest.mark.parametrize('name', ONE_OF_EACH_KIND)
def test_logits_have_one_channel_for_each_class(name):
    network = create(name)
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        logits = network(nn.Variable((1, 3, size, size)))[0]
    assert logits.shape[1] == network.info.num_classes


def test_one_of_each_family_is_built():
    built = {models.family_of(name).name for name in ONE_OF_EACH_KIND}
    assert built == {family.name for family in models.FAMILIES}


def test_the_reference_networks_exist():
    assert {'d3net', 'd3net_s', 'd3net_l'} <= set(models.names())
    assert models.create('d3net_s').info.num_classes == 19


@pytest.mark.parametrize(
    'name, file', [('d3net_s', 'D3Net_S'), ('d3net_l', 'D3Net_L'), ('d3net_t', 'D3Net_T_camvid')]
)
def test_names_and_configs_create_the_same_network(name, file):
    by_name, by_config = models.create(name), models.create(config.load(f'configs/{file}.yaml'))
    assert by_name.hyper == by_config.hyper
    assert by_name.info == by_config.info


def test_the_network_of_every_config_has_a_name():
    """Its hyper-parameters are those of the name and the number of classes."""
    paths = sorted((programs.PROJECT / 'configs').glob('*.yaml'))
    assert len(paths) > 40
    for path in paths:
        loaded = config.load(path)
        network = models.create(loaded)
        own = ('d3net_s', 'd3net_l', 'd3net_t') if network.name == 'd3net' else (network.name,)
        changes = {'num_classes': network.info.num_classes}
        if loaded.get('tasks') is not None:
            keys = ('inputs', 'tasks', 'task_channels', 'depth_range', 'aspp_dil')
            changes = {key: loaded[key] for key in keys if loaded.get(key) is not None}
        named = [models.create(name, **changes) for name in own]
        assert network.hyper in [other.hyper for other in named], path


def test_names_match_any_of_the_patterns_in_the_order_of_the_registry():
    everything = models.names()
    csail = models.names('csail_*')
    assert csail == [name for name in everything if name.startswith('csail_')]
    assert len(csail) == 54
    assert models.names('d3net', 'csail_*', 'd3net*') == csail + [
        'd3net', 'd3net_s', 'd3net_l', 'd3net_t',
    ]  # fmt: skip
    assert models.names('dabnet_r18_p?') == [f'dabnet_r18_p{p}' for p in (1, 2, 4, 8)]
    assert models.names('CSAIL_*') == models.names('resnet*') == models.names('') == []


@pytest.mark.parametrize('pattern', [3, None, ['csail_*'], b'csail_*'])
def test_a_pattern_that_is_no_text_is_refused(pattern):
    with pytest.raises(models.ModelError, match='a pattern of names is a text') as caught:
        models.names('csail_*', pattern)
    assert repr(pattern) in str(caught.value)


def test_overrides_change_a_variant():
    network = models.create('d3net_s', num_classes=7, n_blocks=[1, 1, 1, 1])
    assert network.info.num_classes == 7
    assert network.hyper['n_blocks'] == (1, 1, 1, 1)
    assert network.hyper['dens_k'] == (36, 36, 36, 36)


def test_mean_and_std_of_the_config_override_the_familys():
    network = models.create({**stand_ins.TINY, 'mean': [1, 2, 3], 'std': [4, 5, 6]})
    assert (network.info.mean, network.info.std) == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    'name, message',
    [
        ('d3net_m', 'nearest are.* d3net_'),
        ('D3Net_L', 'nearest are d3net_l'),
        ('csail_resnet50dilated_ppm', 'nearest are csail_resnet50dilated8_ppm, '),
        ('upernet', 'nearest are csail_resnet18_upernet, csail_resnet18_upernet_lite, '),
        ('swin', 'python -m models lists all, such as csail_.*d3net'),
        ('', 'python -m models lists all, such as csail_.*d3net'),
    ],
)
def test_an_unknown_name_lists_the_nearest(name, message):
    with pytest.raises(models.ModelError, match=f"'{name}'.*{message}") as caught:
        models.create(name)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'growth': 3}, 'growth: .*no such hyper-parameter'),
        ({'den_k': [1]}, 'den_k: .*did you mean dens_k'),
        ({'dens_k': None}, 'dens_k: D3Net needs this'),
        ({'dens_k': [4]}, 'dens_k: 1 values for the 2 stages'),
        ({'dens_k': [4, 0]}, 'dens_k: must be at least 1, not .4, 0.'),
        ({'n_blocks': []}, 'n_blocks: must be a list'),
        ({'n_blocks': 4}, r'n_blocks: must be a list, such as \[4\], not 4'),
        ({'dense_n_out_layer_block': [2, 3]}, r'dense_n_out_layer_block: at most num_layers'),
        ({'block_comp': [0.01, 0.5]}, 'block_comp: so small'),
        ({'num_classes': 0}, 'num_classes: must be at least 1 and at most 255, not 0'),
    ],
)
def test_illegal_hyper_parameters_are_refused(changes, message):
    with pytest.raises(models.HyperParameterError, match=message) as caught:
        stand_ins.tiny(**changes)
    assert caught.value.key == next(iter(changes))


TOO_MANY = 'num_classes: must be at least 1 and at most 255, not {}'


def own_family(shown, built, registered=19):
    """Return a family whose info states ``shown`` classes and whose graph has ``built``."""
    return models.Family(
        name='own',
        graph=lambda x, build, **hyper: [L.convolution(x, built, 1, 'logits', build)],
        variants={'own': {'num_classes': registered}},
        info=lambda hyper: models.NetworkInfo(num_classes=shown, paper='none'),
    )


@pytest.mark.parametrize('count', [256, 300, 1000])
def test_more_classes_than_a_class_map_can_hold_are_refused(count, monkeypatch):
    """By name, from a config, in a family of one's own, and by hand."""
    monkeypatch.setitem(registry._families, 'own', own_family(count, 19))
    for create in (models.create, models.describe):
        for name, changes in (('d3net_s', {'num_classes': count}), ('own', {})):
            with pytest.raises(models.HyperParameterError, match=TOO_MANY.format(count)):
                create(name, **changes)
        with pytest.raises(models.HyperParameterError, match=TOO_MANY.format(count)):
            create({'network': 'ddrnet23_slim', 'num_classes': count})
    with pytest.raises(models.ModelError, match=f'the network own: {TOO_MANY.format(count)}'):
        models.register(own_family(19, 19, registered=count))
    with pytest.raises(UserError, match=TOO_MANY.format(count)):
        models.NetworkInfo(num_classes=count, paper='none')
    with pytest.raises(UserError, match=TOO_MANY.format(count)):
        replace(models.describe('d3net_s'), num_classes=count)


def test_a_graph_of_other_classes_than_its_info_is_refused():
    """Class maps of 300 classes would hold class 299 as 43."""
    family = own_family(19, 300)
    network = models.Network('own', family, {}, family.info({}))
    with pytest.raises(models.ModelError, match='own: .* logits of 300 classes, but .* says 19'):
        network(nn.Variable((1, 3, 8, 8)))
