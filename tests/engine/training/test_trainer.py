"""Steps against a formula, and what a trainer's result depends on."""

from types import SimpleNamespace

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from layers import functions as L
from models.family import Family
from models.registry import Network
from support import mpi_training, stand_ins
from support.small_trainers import (
    CONFIG,
    RepeatingLoader,
    batches,
    make_trainer,
    small_network,
    trained,
    values,
)


def test_dropout_depends_on_the_seed_and_the_iteration_only():
    """Functions that ran before have no influence."""
    one = trained({}, seed=1)
    F.dropout(F.constant(1, (4, 4)), 0.5).forward()
    again, other = trained({}, seed=1), trained({}, seed=2)
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one['conv1/conv/W'], other['conv1/conv/W'])


def test_a_trainer_continues_from_its_state_with_the_same_bits():
    """With dropout, an average and a schedule; later steps do not change the state."""
    config = {**CONFIG, 'ema_decay': 0.9, 'solver': 'adam'}
    network, all_batches = small_network(), batches()
    trainer = make_trainer(network, config, RepeatingLoader(*all_batches))
    for _ in range(2):
        trainer.step()
    facts = trainer.state()
    for _ in range(2):
        trainer.step()
    expected = values()
    with trainer.averaged_parameters():
        expected_average = values()
    nn.clear_parameters()
    other = make_trainer(small_network(), config, RepeatingLoader(*all_batches[2:]))
    other.load_state(SimpleNamespace(**facts))
    for _ in range(2):
        other.step()
    assert other.iteration == 4
    own = values()
    assert all(np.array_equal(own[name], array) for name, array in expected.items())
    with other.averaged_parameters():
        own = values()
    assert all(np.array_equal(own[name], array) for name, array in expected_average.items())
    assert not np.array_equal(expected['conv1/conv/W'], expected_average['conv1/conv/W'])


@pytest.mark.parametrize('form', ['nnabla', 'pytorch'])
def test_steps_follow_the_formula(form):
    """Compare a network of one 1x1 convolution with NumPy in float64.

    Two micro-batches with different numbers of valid pixels, class weights, weight decay and
    momentum.
    """
    info = mpi_training.network('plain').info

    def linear(x, build):
        return [L.convolution(x, 5, 1, 'conv', build)]

    family = Family(
        name='linear', graph=linear, variants={}, info=lambda hyper: info, momentum_form=form
    )
    network = Network('linear', family, {}, info)
    network(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters()
    w, b = (values()[f'conv/conv/{name}'].astype(np.float64) for name in 'Wb')
    weights = np.array([1, 2, 3, 4, 5.0])
    config = {
        'lr': 0.3, 'power': 0.5, 'max_iter': 4, 'weight_decay': 0.02, 'momentum': 0.7,
        'class_weights': weights.tolist(), 'accumulation': 2,
    }  # fmt: skip
    data = batches(count=2)
    trainer = make_trainer(network, config, RepeatingLoader(*data))
    pixels = np.concatenate([images.transpose(0, 2, 3, 1).reshape(-1, 3) for images, _ in data])
    labels = np.concatenate([labels.ravel() for _, labels in data])
    pixels, labels = pixels[labels >= 0].astype(np.float64), labels[labels >= 0]
    velocity = [np.zeros((5, 3)), np.zeros(5)]
    w = w.reshape(5, 3)
    for iteration in range(3):
        logits = pixels @ w.T + b
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        share = weights[labels] / weights[labels].sum()
        loss = -(share * np.log(p[np.arange(len(p)), labels])).sum()
        at_logits = (p - np.eye(5)[labels]) * share[:, None]
        lr = 0.3 * (1 - iteration / 4) ** 0.5
        gradients = at_logits.T @ pixels + 0.02 * w, at_logits.sum(axis=0) + 0.02 * b
        inside, outside = (lr, 1) if form == 'nnabla' else (1, lr)
        velocity = [0.7 * v + inside * g for v, g in zip(velocity, gradients)]
        w, b = w - outside * velocity[0], b - outside * velocity[1]
        step = trainer.step()
        assert step.loss == pytest.approx(loss, rel=1e-5)
        assert step.rate == pytest.approx(lr)
        assert values()['conv/conv/W'].reshape(5, 3) == pytest.approx(w, abs=1e-5)
        assert values()['conv/conv/b'] == pytest.approx(b, abs=1e-5)


def test_progress_is_reported_for_each_batch():
    config, reports = {**CONFIG, 'accumulation': 3}, []
    trainer = make_trainer(small_network(), config, RepeatingLoader(*batches()))
    trainer.step(on_progress=reports.append)
    loaded = [f'iteration 1, batch {number}, loaded' for number in (1, 2, 3)]
    assert reports == [*loaded, *(f'iteration 1, batch {number}' for number in (1, 2, 3))]
