"""DDRNet computes what the references do."""

import nnabla as nn
import pytest

import models
from support import network_checks
from support.reference_tester import Reference

OUTPUTS = ('logits', 'aux_logits')
PLAIN = ('ddrnet23_slim', 'ddrnet23', 'ddrnet39')
NETWORKS = PLAIN + tuple(f'{name}_aux' for name in PLAIN)

NARROW = dict(planes=4, spp_planes=4, head_planes=4)


def named(outputs):
    return dict(zip(OUTPUTS, outputs))


def evaluated(network, x):
    return named(network(x, aux=True))


@pytest.mark.parametrize('name', NETWORKS)
def test_the_reference(name, shared):
    reference = Reference(name, shared)
    reference.check_state()
    reference.check_outputs(evaluated)
    reference.check_training(lambda network, x: named(network(x, train=True)))


@pytest.mark.parametrize('name', NETWORKS)
def test_calls(name):
    network_checks.check_calls(name, outputs=1 + name.endswith('_aux'))


def test_sizes():
    network_checks.check_sizes('ddrnet23_slim', smallest=8, divisor=8)


def test_forms():
    network_checks.check_forms('ddrnet39_aux', 64, 128, **NARROW)


@pytest.mark.parametrize('name', ['ddrnet23_slim_aux', 'ddrnet23_aux', 'ddrnet39_aux'])
def test_gradients(name):
    network_checks.check_gradients(name)


def test_one_image_is_no_batch():
    network_checks.check_one_image_is_no_batch('ddrnet23_slim', size=128)  # DAPPM


def test_blocks_of_a_stage_change_its_parameters():
    """One block alone keeps its ReLU; of several, the last has none."""
    network = models.create('ddrnet39', layers=[1, 1, 4, 2], **NARROW)
    network(nn.Variable((1, 3, 16, 8)))[0].forward()
    names = nn.get_parameters()
    assert {'layer3_2_/1/conv2/conv/W', 'layer4_/1/conv2/conv/W'} <= set(names)
    assert not any(n.startswith(('layer1/1/', 'layer3_2/2/', 'layer4_/2/')) for n in names)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'layers': [2, 2, 2]}, 'layers: must be a list of 4 values, not .2, 2, 2.'),
        ({'layers': 4}, 'layers: must be a list, not 4'),
        ({'layers': [3, 4, 5, 3]}, 'layers: the third must be a multiple of 2'),
        ({'layers': [3, 0, 6, 3]}, 'layers: must be at least 1'),
        ({'planes': 0}, 'planes: must be at least 1'),
        ({'auxiliary': True}, 'auxiliary: ddrnet39 has no such hyper-parameter'),
    ],
)
def test_a_wrong_hyper_parameter_is_named(changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create('ddrnet39', **changes)
