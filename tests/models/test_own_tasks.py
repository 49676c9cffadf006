"""A user's own family whose keys say that it takes several inputs and tasks."""

from dataclasses import dataclass

import nnabla as nn
import pytest

import models
from common.tasks import TaskKeys
from layers import functions as L
from models import complexity, registry
from models.structure import SINGLE, Structure


@dataclass(frozen=True, kw_only=True)
class OwnKeys(TaskKeys):
    """Inputs and tasks alone."""


def graph(x, build, *, num_classes, inputs=1, **hyper):
    tasks = TaskKeys.of_config({'num_classes': num_classes, **hyper})
    channels = [task.channels for task in tasks] or [num_classes]
    x = L.convolution(x, 4, 3, 'stem', build, stride=2)
    return [L.convolution(x, count, 1, f'head{i}', build) for i, count in enumerate(channels)]


def info(hyper):
    return models.NetworkInfo(
        num_classes=hyper['num_classes'],
        inputs=hyper.get('inputs', 1),
        tasks=TaskKeys.of_config(hyper),
        paper='ours',
    )


@pytest.fixture(autouse=True)
def own(monkeypatch):
    variants = {'own_plain': dict(num_classes=7), 'own_pair': dict(num_classes=7, inputs=2)}
    variants['own_depth'] = dict(num_classes=7, tasks=('depth', 'segmentation'))
    family = models.Family(name='own', graph=graph, variants=variants, info=info, keys=OwnKeys)
    monkeypatch.setitem(registry._families, 'own', family)
    return family


def test_a_variant_can_have_inputs_and_tasks_of_its_own():
    assert models.create('own_plain').hyper == {'num_classes': 7}
    assert models.describe('own_plain').structure == SINGLE
    assert models.create('own_pair').hyper == {'num_classes': 7, 'inputs': 2}
    assert models.describe('own_pair').structure == Structure(2, (7,))
    for changes, count in (({}, 7), ({'num_classes': 3}, 3)):
        network = models.create('own_depth', **changes)
        assert network.hyper['task_channels'] == (1, count)
        assert network.info.num_classes == count
        shapes = complexity.shape_graph(network, (8, 8)).outputs
        assert [output.shape for output in shapes] == [(1, 1, 4, 4), (1, count, 4, 4)]


def test_its_graph_takes_the_pictures_and_returns_the_tasks():
    network = models.create('own_plain', inputs=2, tasks=['motion'], task_channels=[2])
    assert network(nn.Variable((1, 6, 8, 8)))[0].shape == (1, 2, 4, 4)
    assert nn.get_parameters()['stem/conv/W'].shape == (4, 6, 3, 3)


def test_networks_of_other_families_name_those_that_have_the_keys():
    with pytest.raises(
        models.HyperParameterError, match='networks of edgeailite, own have several'
    ):
        models.create('dabnet_e', tasks=['depth'])
