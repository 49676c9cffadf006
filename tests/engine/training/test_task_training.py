"""Steps of a network with three tasks against the original's, and learned scales of the tasks."""

import json

import nnabla as nn
import numpy as np
import pytest

from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.training import losses
from engine.training.losses.task_weighting import LearnedScales
from engine.training.optimizer import SolverKeys
from engine.training.trainer import Trainer
from support import mpi_training
from support.reference_tester import Reference
from support.small_trainers import RepeatingLoader

NETWORK = 'deeplabv3plus_mobilenetv2_tv_edgeailite_2in_depth_seg_motion'
TASKS = ['depth', 'segmentation', 'motion']
# The losses of the original's script for several tasks, and its step of plain SGD.
CONFIG = {
    'tasks': TASKS,
    'loss_mean': 'all',
    'depth_l1_weight': 1.0,
    'depth_scale_weight': 1.0,
    'depth_variance_weight': 0.0,
    'schedule': 'constant',
    'lr': 1e-4,
    'momentum': 0.0,
    'batch_size': 2,
    'max_iter': 10,
}


@pytest.fixture(scope='module')
def golden(shared):
    return json.loads((shared / 'reference_tasks' / 'losses_metrics.json').read_text())


def golden_batch(known):
    """Return the images and targets of the original's step."""
    pictures = [np.random.RandomState(51 + j).randn(2, 3, 64, 128) for j in range(2)]
    shape, rng = (2, 1, 64, 128), np.random.RandomState(61)
    depth = rng.uniform(1, 80, shape)
    depth[rng.rand(*shape) < 0.3] = 0
    labels = rng.randint(0, 19, shape)
    labels[rng.rand(*shape) < 0.15] = 255
    motion = rng.randint(0, 2, shape)
    check = known['target_check']
    assert labels.ravel()[:8].tolist() == check['seg_first8']
    assert motion.ravel()[:8].tolist() == check['motion_first8']
    assert np.count_nonzero(depth) == check['depth_valid']
    labels[labels == 255] = -1
    targets = {
        'depth': depth.astype(np.float32),
        'segmentation': labels.astype(np.int32),
        'motion': motion.astype(np.int32),
    }
    return np.concatenate(pictures, axis=1).astype(np.float32), targets


def trainer_on(reference, batch, **changes):
    """Return a trainer without dropout and batch statistics, as the original's steps were."""
    config, processes = {**CONFIG, **changes}, Processes()
    network = reference.network
    return Trainer(
        network,
        losses.create_for(config, network.info),
        SolverKeys.of({**config, 'momentum_form': 'pytorch'}),
        mpi_training.hyperparameters_of(config, 2, 1),
        RepeatingLoader(batch),
        processes,
        SingleProcessCommunicator(processes),
        seed=0,
        build={'freeze_statistics': True, 'dropout': False},
    )


def test_a_step_equals_the_original(shared, golden):
    known = golden['training_step']['frozen_bn_float64']
    reference = Reference.with_tasks(NETWORK, shared)
    trainer = trainer_on(reference, golden_batch(golden['training_step']))
    step = trainer.step()
    assert step.loss == pytest.approx(known['total'], rel=1e-5)
    assert list(step.task_losses) == TASKS
    assert list(step.task_losses.values()) == pytest.approx(known['task_losses'], rel=1e-5)
    assert step.task_scales == {}
    gradients = nn.get_parameters()
    for name, norm in known['gradient_l2'].items():
        found = np.linalg.norm(gradients[reference.names[name]].g.astype(np.float64))
        assert found == pytest.approx(norm, rel=2e-3), name
    after = trainer.step()
    assert list(after.task_losses.values()) == pytest.approx(
        known['task_losses_after_step'], rel=1e-3
    )


def test_learned_scales_equal_the_original(shared, golden):
    known = golden['training_step']['learned_task_weighting_frozen_bn_float32']['steps']
    reference = Reference.with_tasks(NETWORK, shared)
    batch = golden_batch(golden['training_step'])
    trainer = trainer_on(reference, batch, task_weighting='learned')
    for expected in known:
        step = trainer.step()
        assert list(step.task_losses.values()) == pytest.approx(expected['task_losses'], rel=2e-3)
        assert step.loss == pytest.approx(expected['total'], rel=1e-3)
        assert list(step.task_scales.values()) == pytest.approx(expected['scales_after'], rel=2e-7)
    state = trainer.state()['task_scales']
    norms = [each['gradient_norms_at_the_last_encoder_map'] for each in known]
    smooth = norms[0]
    for norm in norms[1:]:
        smooth = 0.999 * np.array(smooth) + 0.001 * np.array(norm)
    assert state['norms'] == pytest.approx(smooth, rel=2e-3)


@pytest.mark.parametrize(
    ('sequence', 'first'),
    (
        ('learned', (1, 1, 1)),
        ('learned_factors_1_2_0.5', (1, 2, 0.5)),
        ('learned_two_tasks', (1, 1)),
    ),
)
def test_the_rule_equals_the_original(sequence, first, golden):
    """A state in the middle continues with the same bits."""
    scales = LearnedScales(first)
    for number, step in enumerate(golden['task_weighting']['sequences'][sequence]):
        arrays = np.array(step['losses']), np.array(step['gradient_norms'])
        scales.update(*arrays)
        assert scales.values == pytest.approx(step['scales_after'], abs=3e-7)
        if number == 1:
            other = LearnedScales(first)
            other.load_state(json.loads(json.dumps(scales.state())))
        elif number > 1:
            other.update(*arrays)
            assert other.values == scales.values
