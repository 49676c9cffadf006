"""DDRNet: the references' numbers, sizes, builds, blocks of a stage, refusals."""

import nnabla as nn
import pytest

import models
from support import network_checks, reference_outputs
from support.reference_tester import Reference

PLAIN = ('ddrnet23_slim', 'ddrnet23', 'ddrnet39')
NETWORKS = PLAIN + tuple(f'{name}_aux' for name in PLAIN)
NARROW = dict(planes=4, spp_planes=4, head_planes=4)
whole_registry = pytest.mark.whole_registry


def compare_with_reference(name, shared, cases, training):
    reference = Reference(name, shared)
    reference.check_state()
    reference.meta['cases'] = reference.meta['cases'][:cases]
    reference.check_outputs(reference_outputs.ddrnet_evaluation)
    if training:
        reference.check_training(reference_outputs.ddrnet_training)


@pytest.mark.parametrize('name', PLAIN)
def test_computes_what_the_reference_computes(name, shared):
    """With and without the auxiliary head: both fixtures have the same parameters in common.

    All three sizes for the slim network, two for the others. The training of a network with the
    auxiliary head includes that of the network without.
    """
    cases = 3 if name == 'ddrnet23_slim' else 2
    compare_with_reference(name, shared, cases, training=False)
    compare_with_reference(f'{name}_aux', shared, cases, training=True)


@whole_registry
@pytest.mark.parametrize('name', NETWORKS)
def test_computes_what_the_reference_computes_at_all_sizes_and_in_training(name, shared):
    compare_with_reference(name, shared, cases=3, training=True)


@pytest.mark.parametrize('name', NETWORKS)
def test_every_build_has_the_same_parameters(name):
    network_checks.check_build_options(name, outputs=1 + name.endswith('_aux'), **NARROW)


def test_legal_sizes():
    network_checks.check_input_sizes('ddrnet23_slim', smallest=8, divisor=8)


def test_graphs_for_gpus_compute_the_same():
    network_checks.check_gpu_graphs('ddrnet39_aux', 64, 128, **NARROW)


@pytest.mark.parametrize(
    'name, hyper',
    [
        ('ddrnet23_slim_aux', {}),
        ('ddrnet39_aux', NARROW),
        pytest.param('ddrnet23_aux', {}, marks=whole_registry),
        pytest.param('ddrnet39_aux', {}, marks=whole_registry),
    ],
)
def test_gradients_reach_every_parameter(name, hyper):
    network_checks.check_gradients(name, **hyper)


def test_one_image_cannot_be_trained():
    """The DAPPM pools to one pixel."""
    network_checks.check_single_image_is_refused('ddrnet23_slim', size=128)


def test_blocks_of_a_stage_change_its_parameters():
    """A single block ends with ReLU; the last of several blocks does not."""
    network = models.create('ddrnet39', layers=[1, 1, 4, 2], **NARROW)
    network(nn.Variable((1, 3, 16, 8)))[0].forward()
    names = nn.get_parameters()
    assert {'layer3_2_/1/conv2/conv/W', 'layer4_/1/conv2/conv/W'} <= set(names)
    assert not any(n.startswith(('layer1/1/', 'layer3_2/2/', 'layer4_/2/')) for n in names)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'layers': [2, 2, 2]}, 'layers: must be a list of 4 values, not .2, 2, 2.'),
        ({'layers': 4}, r'layers: must be a list, such as \[4\], not 4'),
        ({'layers': [3, 4, 5, 3]}, 'layers: the third must be a multiple of 2'),
        ({'layers': [3, 0, 6, 3]}, 'layers: must be at least 1'),
        ({'planes': 0}, 'planes: must be at least 1'),
        ({'auxiliary': True}, 'auxiliary: ddrnet39 has no such hyper-parameter'),
    ],
)
def test_illegal_hyper_parameters_are_refused(changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create('ddrnet39', **changes)
