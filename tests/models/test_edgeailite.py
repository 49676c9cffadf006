"""EdgeAI-Lite: the original's numbers, legal sizes, activations, builds, gradients, dropout."""

import nnabla as nn
import numpy as np
import pytest

import models
from support import network_checks, reference_outputs, stand_ins
from support.reference_tester import Reference

FIXTURES = (
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
)
# One of each kind: all decoders, two of them with both encoders, and fast downsampling. `make test`
# compares these at all sizes and in training, the others at the first two sizes.
COMPARED_IN_FULL = (
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'deeplabv3plus_regnetx800mf_edgeailite',
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
)
# One of each encoder and of each decoder.
ONE_OF_EACH_KIND = (
    'deeplabv3plus_mobilenetv2_tv_1p4_edgeailite',
    'deeplabv3plus_regnetx1p6gf_edgeailite',
    'unet_aspp_regnetx800mf_fd_edgeailite',
    'fpn_mobilenetv2_tv_edgeailite',
)
whole_registry = pytest.mark.whole_registry
deeplabv3plus_3p2gf = pytest.param('deeplabv3plus_regnetx3p2gf_edgeailite', marks=whole_registry)


def compare_with_reference(name, shared, in_full):
    reference = Reference(name, shared)
    reference.check_state()
    if not in_full:
        reference.meta['cases'] = reference.meta['cases'][:2]
    reference.check_outputs(reference_outputs.edgeailite_evaluation)
    if in_full:
        reference.check_training(reference_outputs.edgeailite_training)


@pytest.mark.parametrize('name', FIXTURES)
def test_computes_what_the_original_computes(name, shared):
    compare_with_reference(name, shared, in_full=name in COMPARED_IN_FULL)


@whole_registry
@pytest.mark.parametrize('name', sorted(set(FIXTURES) - set(COMPARED_IN_FULL)))
def test_computes_what_the_original_computes_at_all_sizes_and_in_training(name, shared):
    compare_with_reference(name, shared, in_full=True)


def activations(name, **changes):
    """Return the types of activation functions in the evaluation graph."""
    kinds = set()
    nn.clear_parameters()
    network = models.create(f'{name}_edgeailite', **changes)
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, size, size)))[0].visit(lambda f: kinds.add(f.info.type_name))
    return kinds & {'ReLU', 'ReLU6'}


def test_only_networks_of_width_1p4_have_relu6_everywhere():
    assert activations('deeplabv3plus_mobilenetv2_tv') == {'ReLU'}
    for decoder in ('deeplabv3plus', 'unet_aspp', 'fpn'):
        assert activations(f'{decoder}_mobilenetv2_tv_1p4') == {'ReLU6'}
    neither = dict(use_aspp=False, use_extra_strides=False)
    assert activations('fpn_mobilenetv2_tv_1p4', **neither) == {'ReLU', 'ReLU6'}


def test_initial_values_are_those_of_the_original():
    """Weights are normal by the number of outputs: of all groups, for grouped convolutions."""
    models.create('fpn_aspp_regnetx400mf_edgeailite')(nn.Variable((1, 3, 32, 32)))
    parameters = nn.get_parameters()
    for name, deviation in (
        ('encoder/features/s4/b2/f/b/conv/W', np.sqrt(2 / (384 * 9))),
        ('decoders/0/rfblock/aspp_out/0/conv/W', np.sqrt(2 / 256)),
    ):
        assert parameters[name].d.std() == pytest.approx(deviation, rel=0.02)
    gammas = {p.d.flat[0] for n, p in parameters.items() if n.endswith('gamma')}
    assert gammas == {np.float32(1 - 1e-5)}


@pytest.mark.parametrize(
    'name, size',
    [
        ('deeplabv3plus_mobilenetv2_tv', 16),
        ('deeplabv3plus_regnetx400mf_fd', 32),
        ('unet_aspp_regnetx800mf', 32),
        ('fpn128_aspp_mobilenetv2_tv_fd', 64),
        ('fpn_mobilenetv2_tv', 128),
        ('unet_mobilenetv2_tv_fd', 256),
    ],
)
def test_legal_sizes(name, size):
    network_checks.check_input_sizes(f'{name}_edgeailite', size, size)


@pytest.mark.parametrize('name', [*ONE_OF_EACH_KIND, deeplabv3plus_3p2gf])
def test_every_build_has_the_same_parameters(name):
    network_checks.check_build_options(name, outputs=1)


@pytest.mark.parametrize(
    'name',
    [
        *ONE_OF_EACH_KIND,
        pytest.param('deeplabv3plus_regnetx400mf_edgeailite', marks=whole_registry),
        pytest.param('unet_mobilenetv2_tv_edgeailite', marks=whole_registry),
        pytest.param('fpn128_mobilenetv2_tv_edgeailite', marks=whole_registry),
        deeplabv3plus_3p2gf,
    ],
)
def test_gradients_reach_every_parameter(name):
    """test_recomputation.py has other encoders and decoders."""
    network_checks.check_gradients(name)


def test_recomputed_blocks_change_no_bit_and_drop_the_same_maps():
    network = models.create('unet_aspp_mobilenetv2_tv_edgeailite')
    initial = network_checks.random_parameters(network)
    results = []
    for recompute in ('none', 'blocks'):
        nn.random.set_function_seed(7)
        step = network_checks.training_step(network, initial, recompute, dropout=True)
        results.append(step)
    for kept, recomputed in zip(*results):
        assert kept.keys() == recomputed.keys()
        for name in kept:
            assert np.array_equal(kept[name], recomputed[name]), name


def test_a_fifth_of_the_maps_is_dropped_in_training_only():
    shares = {}
    for train in (False, True):
        dropped = shares[train] = []
        network = models.create('fpn_aspp_mobilenetv2_tv_edgeailite')
        with stand_ins.zero_parameters():
            logits = network(nn.Variable((2, 3, 32, 32)), train=train)[0]

        def look(function, dropped=dropped):
            if function.info.type_name == 'Dropout':
                dropped.append((function.info.args['p'], function.outputs[0].shape))

        logits.visit(look)
    assert shares == {False: [], True: [(pytest.approx(0.2), (2, 1024, 1, 1))]}


def test_one_image_of_the_smallest_size_cannot_be_trained():
    network_checks.check_single_image_is_refused('fpn_aspp_mobilenetv2_tv_edgeailite', 32)
