"""The losses of several tasks together, and those of class tasks against the original's."""

import json

import nnabla as nn
import numpy as np
import pytest

from common.errors import UserError
from common.tasks import CLASSES, DEPTH, Task
from engine.training import losses
from engine.training.losses import task_criterion
from models import NetworkInfo
from support import expected_depth, expected_losses

TASKS = (Task('depth', DEPTH, 1), Task('segmentation', CLASSES, 4), Task('motion', CLASSES, 2))
SIZE = (6, 8)


def built(config, tasks=TASKS, auxiliary=0, batch=2):
    """Return the outputs of a network, as Variables, and the objective of its tasks."""
    rng = np.random.RandomState(0)
    channels = [*(task.channels for task in tasks), *[4] * auxiliary]
    outputs = [
        nn.Variable.from_numpy_array(rng.rand(batch, c, 3, 4).astype(np.float32), need_grad=True)
        for c in channels
    ]
    for output in outputs:
        output.grad.zero()
    return outputs, task_criterion.create(config, tasks).build(outputs, SIZE)


def random_targets(batch=2):
    """Return targets of every task."""
    return {
        'depth': expected_depth.random_depths(SIZE, batch)[1],
        'segmentation': expected_losses.random_labels(SIZE, batch),
        'motion': expected_losses.random_labels(SIZE, batch, seed=2, classes=2),
    }


def computed(objective, targets):
    objective.feed(targets, objective.counts(targets))
    objective.loss.forward(clear_no_need_grad=True)
    objective.loss.backward(clear_buffer=True)
    return objective.loss.d.item()


def test_the_loss_is_the_weighted_sum_of_those_of_single_tasks():
    """Losses and gradients; a criterion of one class task is the same with and without tasks."""
    targets = random_targets()
    outputs, objective = built({'task_weights': [0.5, 2.0, 1.0], 'label_smoothing': 0.1})
    loss = computed(objective, targets)
    alone = []
    for task, output, weight in zip(TASKS, outputs, (0.5, 2.0, 1.0)):
        own = nn.Variable.from_numpy_array(output.d.copy(), need_grad=True)
        own.grad.zero()
        if task.kind == DEPTH:
            single = task_criterion.DepthCriterion.of({}).build([own], SIZE)
        else:
            single = losses.create({'label_smoothing': 0.1}, task.channels).build([own], SIZE)
        alone.append(computed(single, targets[task.name]))
        assert output.g == pytest.approx(weight * own.g, rel=1e-6, abs=1e-9)
    assert objective.task_losses() == pytest.approx(alone, rel=1e-7)
    assert loss == pytest.approx(np.dot(alone, (0.5, 2.0, 1.0)), rel=1e-6)


def test_auxiliary_heads_belong_to_the_first_class_task():
    targets = random_targets()
    with_aux, objective = built({'aux_weights': [0.3]}, auxiliary=2)
    computed(objective, targets)
    _, plain = built({})
    computed(plain, targets)
    found, expected = objective.task_losses(), plain.task_losses()
    heads = [with_aux[1], *with_aux[3:]]
    single = losses.create({'aux_weights': [0.3]}, 4).build(heads, SIZE)
    expected[1] = computed(single, targets['segmentation'])
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_task_without_a_target_adds_nothing():
    targets = random_targets()
    targets['depth'][:] = 0
    targets['motion'][:] = -1
    outputs, objective = built({})
    loss = computed(objective, targets)
    assert objective.task_losses()[[0, 2]].tolist() == [0, 0]
    assert loss == pytest.approx(objective.task_losses()[1])
    assert not outputs[0].g.any()
    assert outputs[1].g.any()


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('case', ['seg19', 'motion'])
def test_class_losses_equal_the_original(case, weighted, shared):
    """The original divides by all pixels, ignored ones included: ``loss_mean: all``."""
    path = shared / 'reference_tasks' / 'losses_metrics.json'
    golden = json.loads(path.read_text())['segmentation']['cases'][case]
    n, classes, *size = golden['shape']
    rng = np.random.RandomState(golden['seed'])
    logits = (rng.randn(*golden['shape']) * 2).astype(np.float32)
    labels = rng.randint(0, classes, (n, 1, *size))
    labels[rng.rand(n, 1, *size) < 0.15] = 255
    labels = np.where(labels == 255, -1, labels).astype(np.int32)
    config = {'loss_mean': 'all'}
    config |= {'class_weights': golden['class_weights']} if weighted else {}
    known = golden[f'segmentation_loss_{"weighted" if weighted else "unweighted"}']
    x = nn.Variable.from_numpy_array(logits, need_grad=True)
    x.grad.zero()
    objective = losses.create(config, classes).build([x], tuple(size))
    assert computed(objective, labels) == pytest.approx(known['value_float64'], rel=1e-6)
    assert np.linalg.norm(x.g) == pytest.approx(known['gradient_l2_float64'], rel=1e-5)


def test_the_keys_decide_which_criterion_a_network_has():
    info = NetworkInfo(num_classes=4, tasks=TASKS, paper='none')
    names = [task.name for task in TASKS]
    keys = {'tasks': names, 'task_channels': [1, 4, 2]}
    assert isinstance(losses.create_for(keys, info), losses.TaskCriterion)
    alone = NetworkInfo(num_classes=4, paper='none')
    assert isinstance(losses.create_for({}, alone), losses.Criterion)
    one = {'tasks': ['segmentation'], 'num_classes': 4}
    assert isinstance(losses.create_for(one, alone), losses.TaskCriterion)
    with pytest.raises(UserError, match='task_weights: needs the key tasks'):
        losses.create_for({'task_weights': [1.0]}, alone)
