"""DABNet: the reference's numbers with both encoders, sizes, builds, dropout, refusals."""

import nnabla as nn
import nnabla.functions as F
import pytest

import models
from support import network_checks, reference_outputs, stand_ins
from support.reference_tester import Reference

whole_registry = pytest.mark.whole_registry


def compare_with_reference(name, shared, cases=None):
    reference = Reference(name, shared)
    reference.check_state()
    reference.meta['cases'] = reference.meta['cases'][:cases]
    reference.check_outputs(reference_outputs.dabnet_evaluation)
    return reference


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_r18_p2', 'dabnet_e'])
def test_computes_what_the_reference_computes(name, shared):
    reference = compare_with_reference(name, shared)
    reference.check_training(reference_outputs.dabnet_training)


@pytest.mark.parametrize(
    'name', ['dabnet_r18_p8', pytest.param('dabnet_r18_p16', marks=whole_registry)]
)
def test_large_patches_compute_what_the_reference_computes(name, shared):
    """One size for each network: P16 has 152 million parameters."""
    compare_with_reference(name, shared, cases=1)


@whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', ['dabnet_r18_p8', 'dabnet_r18_p16'])
def test_large_patches_compute_what_the_reference_computes_at_all_sizes(name, shared):
    compare_with_reference(name, shared)


def test_number_of_parameters_with_patches_of_4():
    """The number is the sum of the shapes in the reference's logs/dabnet-P4.log.

    No fixture has this network: computed numbers are compared for other patch sizes only.
    """
    with stand_ins.zero_parameters():
        models.create('dabnet_r18_p4')(nn.Variable((1, 3, 128, 128)))
    assert sum(p.size for p in nn.get_parameters().values()) == 24_198_041


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_e'])
def test_every_build_has_the_same_parameters(name):
    network_checks.check_build_options(name, outputs=3)


@pytest.mark.parametrize(
    'name, divisor', [('dabnet_r18_p1', 32), ('dabnet_e', 64), ('dabnet_r18_p4', 128)]
)
def test_legal_sizes(name, divisor):
    network_checks.check_input_sizes(name, smallest=divisor, divisor=divisor)


@pytest.mark.parametrize(
    'name, height, width',
    [
        ('dabnet_e', 64, 128),
        pytest.param('dabnet_r18_p2', 64, 128, marks=whole_registry),
    ],
)
def test_graphs_for_gpus_compute_the_same(name, height, width):
    network_checks.check_gpu_graphs(name, height, width)


@pytest.mark.parametrize('name', ['dabnet_e', pytest.param('dabnet_r18_p1', marks=whole_registry)])
def test_gradients_reach_every_parameter(name):
    """test_recomputation.py has a network with the other encoder."""
    network_checks.check_gradients(name)


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_e'])
def test_one_image_cannot_be_trained(name):
    """The attention refinement pools to one pixel."""
    network_checks.check_single_image_is_refused(name, size=128)


def test_any_patch_size_makes_a_network():
    network = models.create('dabnet_r18_p1', patch_size=3, num_classes=2)
    assert network.info.size_divisor == network.info.smallest_size == 96
    with stand_ins.zero_parameters():
        logits = network(nn.Variable((1, 3, 96, 192)), aux=True)
    assert [y.shape for y in logits] == [(1, 2, 12, 24), (1, 2, 12, 24), (1, 2, 6, 12)]


def test_each_head_drops_maps_in_training_only():
    network, x = models.create('dabnet_r18_p1'), nn.Variable((2, 3, 32, 32))
    for options, expected in (
        ({'train': True}, 3),
        ({'train': True, 'dropout': False}, 0),
        ({'aux': True}, 0),
    ):
        kinds = []
        with stand_ins.zero_parameters():
            outputs = network(x, **options)
        F.sink(*outputs).visit(lambda f, kinds=kinds: kinds.append(f.info.type_name))
        assert kinds.count('Dropout') == expected, options


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'patch_size': 0}, 'patch_size: must be at least 1'),
        ({'sim_channels': [32, 64]}, 'sim_channels: must be a list of 4 values'),
        ({'sim_channels': [9, 9, 0, 9]}, 'sim_channels: must be at least 1'),
        ({'encoder': 'resnet50'}, 'encoder: dabnet_e has no such hyper-parameter'),
    ],
)
def test_illegal_hyper_parameters_are_refused(changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create('dabnet_e', **changes)
