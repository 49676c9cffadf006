"""DABNet computes what the reference does, with both encoders and patches of any size."""

import nnabla as nn
import nnabla.functions as F
import pytest

import models
from layers import functions as L
from support import network_checks, stand_ins
from support.reference_tester import Reference

LOGITS = ('logits_lowres', 'aux0_logits_lowres', 'aux1_logits_lowres')


def named(outputs):
    return dict(zip(LOGITS, outputs))


def upsampled(network, x):
    outputs = named(network(x, aux=True))
    logits = L.resize(outputs['logits_lowres'], x.shape[2:])
    return outputs | {'logits': logits, 'prob': F.softmax(logits, axis=1)}


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_r18_p2', 'dabnet_e'])
def test_the_reference(name, shared):
    reference = Reference(name, shared)
    reference.check_state()
    reference.check_outputs(upsampled)
    reference.check_training(lambda network, x: named(network(x, train=True, dropout=False)))


def check_large_patches(name, shared, cases):
    reference = Reference(name, shared)
    reference.check_state()
    reference.meta['cases'] = reference.meta['cases'][:cases]
    reference.check_outputs(upsampled)


@pytest.mark.parametrize('name', ['dabnet_r18_p8', 'dabnet_r18_p16'])
def test_the_reference_with_large_patches(name, shared):
    """One size each: 152 million parameters of P16 take their time."""
    check_large_patches(name, shared, cases=1)


@pytest.mark.whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', ['dabnet_r18_p8', 'dabnet_r18_p16'])
def test_the_reference_with_large_patches_at_all_sizes(name, shared):
    check_large_patches(name, shared, cases=None)


def test_the_number_of_parameters_with_patches_of_4():
    """No fixture holds this network; the number is the sum of the shapes in the reference's
    logs/dabnet-P4.log. Numbers that it computes are compared for other patches only.
    """
    with stand_ins.zero_parameters():
        models.create('dabnet_r18_p4')(nn.Variable((1, 3, 128, 128)))
    assert sum(p.size for p in nn.get_parameters().values()) == 24_198_041


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_e'])
def test_calls(name):
    network_checks.check_calls(name, outputs=3)


@pytest.mark.parametrize(
    'name, divisor', [('dabnet_r18_p1', 32), ('dabnet_e', 64), ('dabnet_r18_p4', 128)]
)
def test_sizes(name, divisor):
    network_checks.check_sizes(name, smallest=divisor, divisor=divisor)


@pytest.mark.parametrize('name', ['dabnet_r18_p2', 'dabnet_e'])
def test_forms(name):
    network_checks.check_forms(name, 64, 128)


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_e'])
def test_gradients(name):
    network_checks.check_gradients(name)


@pytest.mark.parametrize('name', ['dabnet_r18_p1', 'dabnet_e'])
def test_one_image_is_no_batch(name):
    network_checks.check_one_image_is_no_batch(name, size=128)  # attention


def test_any_patch_size_makes_a_network():
    network = models.create('dabnet_r18_p1', patch_size=3, num_classes=2)
    assert network.info.size_divisor == network.info.smallest_size == 96
    logits = network(nn.Variable((1, 3, 96, 192)), aux=True)
    assert [y.shape for y in logits] == [(1, 2, 12, 24), (1, 2, 12, 24), (1, 2, 6, 12)]


def test_each_head_drops_maps_in_training_only():
    network, x = models.create('dabnet_r18_p1'), nn.Variable((2, 3, 32, 32))
    for call, expected in (
        ({'train': True}, 3),
        ({'train': True, 'dropout': False}, 0),
        ({'aux': True}, 0),
    ):
        kinds = []
        F.sink(*network(x, **call)).visit(lambda f, kinds=kinds: kinds.append(f.info.type_name))
        assert kinds.count('Dropout') == expected, call


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'patch_size': 0}, 'patch_size: must be at least 1'),
        ({'sim_channels': [32, 64]}, 'sim_channels: must be a list of 4 values'),
        ({'sim_channels': [9, 9, 0, 9]}, 'sim_channels: must be at least 1'),
        ({'encoder': 'resnet50'}, 'encoder: dabnet_e has no such hyper-parameter'),
    ],
)
def test_a_wrong_hyper_parameter_is_named(changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create('dabnet_e', **changes)
