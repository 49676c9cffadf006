"""EdgeAI-Lite with two inputs and three tasks: gradients of the original's training step."""

import json

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from layers import functions as L
from support.reference_tester import Reference

NAME = 'deeplabv3plus_mobilenetv2_tv_edgeailite_2in_depth_seg_motion'
SHAPE = (2, 1, 64, 128)


@pytest.fixture
def golden(shared):
    return json.loads((shared / 'reference_tasks' / 'losses_metrics.json').read_text())[
        'training_step'
    ]


def targets(golden):
    """Return the targets that the file describes: metres with 0 for unknown, classes with 255."""
    rng = np.random.RandomState(61)
    depth = rng.uniform(1, 80, SHAPE)
    depth[rng.rand(*SHAPE) < 0.3] = 0
    labels = rng.randint(0, 19, SHAPE)
    labels[rng.rand(*SHAPE) < 0.15] = 255
    motion = rng.randint(0, 2, SHAPE)
    check = golden['target_check']
    assert depth.ravel()[:4].tolist() == check['depth_first4']
    assert labels.ravel()[:8].tolist() == check['seg_first8']
    assert motion.ravel()[:8].tolist() == check['motion_first8']
    return depth.astype(np.float32), labels, motion


def constant(values):
    return nn.Variable.from_numpy_array(np.asarray(values, np.float32))


def depth_loss(prediction, target):
    """Return smooth L1 plus TI's scale loss over the pixels whose depth is known."""
    known, share = constant(target > 0), 1 / (target > 0).sum()
    error = F.sum(0.5 * F.huber_loss(prediction * known, constant(target), 1.0)) * share
    shift = F.sum(prediction * known) * share - target.sum() * share
    eps = 0.001**2
    return error + F.pow_scalar(shift**2 + eps, 0.45) - eps**0.45


def class_loss(logits, target):
    """Return cross entropy divided by the number of all pixels, also of those that are ignored."""
    kept = np.where(target == 255, 0, target)
    log_likelihood = F.log_softmax(logits, axis=1)
    chosen = np.arange(logits.shape[1]).reshape(1, -1, 1, 1) == kept
    return -F.sum(log_likelihood * constant(chosen & (target != 255))) / target.size


def own_name(name):
    """Return NNabla's name of a weight: of a convolution, or of the only batch norm among them."""
    module = name.removesuffix('.weight').replace('.', '/')
    return f'{module}/bn/gamma' if module.endswith('streamfuse/1/1') else f'{module}/conv/W'


@pytest.fixture
def step(shared, golden):
    """Run the step's backward pass; return the losses of the tasks and the taps."""
    network = Reference.with_tasks(NAME, shared).network
    x = [np.random.RandomState(51 + j).randn(2, 3, 64, 128) for j in range(2)]
    taps = {}
    options = dict(train=True, freeze_statistics=True, dropout=False, task_taps=taps)
    outputs = network(constant(np.concatenate(x, axis=1)), **options)
    depth, labels, motion = targets(golden)
    upsampled = [L.resize(output, SHAPE[2:]) for output in outputs]
    losses = [
        depth_loss(upsampled[0], depth),
        class_loss(upsampled[1], labels),
        class_loss(upsampled[2], motion),
    ]
    total = F.identity(losses[0] + losses[1] + losses[2])
    for loss in losses:
        loss.persistent = True
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    total.forward(clear_no_need_grad=True)
    total.backward(clear_buffer=True)
    return losses, taps


def test_losses_and_gradients_are_those_of_the_original(golden, step):
    losses, _ = step
    expected = golden['frozen_bn_float64']
    assert [float(loss.d) for loss in losses] == pytest.approx(expected['task_losses'], rel=1e-5)
    parameters = nn.get_parameters()
    found = {n: np.linalg.norm(parameters[own_name(n)].g) for n in expected['gradient_l2']}
    assert found == pytest.approx(expected['gradient_l2'], rel=2e-3)


def test_the_taps_have_the_gradient_of_each_task(golden, step):
    _, taps = step
    assert list(taps) == ['depth', 'segmentation', 'motion']
    first = golden['learned_task_weighting_frozen_bn_float32']['steps'][0]
    norms = [float(np.linalg.norm(tap.g)) for tap in taps.values()]
    assert norms == pytest.approx(first['gradient_norms_at_the_last_encoder_map'], rel=1e-3)
