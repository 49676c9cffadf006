"""Solvers against their formulas; parameter groups, gradients and states."""

import numpy as np
import pytest

from common.errors import UserError
from engine.training.optimizer import Optimizer, SolverKeys
from support.expected_updates import (
    RISING,
    SHAPES,
    SOLVERS,
    assert_values,
    expected_values,
    gradients,
    parameters,
    set_gradients,
    train,
    values,
)


@pytest.mark.parametrize('decay', (0.0, 0.3))
@pytest.mark.parametrize('solver', SOLVERS)
def test_three_steps_with_a_changing_learning_rate(solver, decay):
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys.of({**SOLVERS[solver], 'weight_decay': decay})), params)
    assert_values(params, expected_values(start, solver, RISING, decay))


@pytest.mark.parametrize('solver', ('adam', 'adamw'))
def test_the_options_of_adam(solver):
    params = parameters()
    start = values(params)
    config = {**SOLVERS[solver], 'beta1': 0.7, 'beta2': 0.9, 'epsilon': 1e-6, 'weight_decay': 0.1}
    train(Optimizer(params, SolverKeys.of(config)), params)
    options = dict(beta1=0.7, beta2=0.9, eps=1e-6)
    assert_values(params, expected_values(start, solver, RISING, 0.1, **options))


def test_the_default_is_momentum_without_decay():
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys()), params)
    assert_values(params, expected_values(start, 'momentum', RISING))


@pytest.mark.parametrize('solver', SOLVERS)
def test_a_first_learning_rate_of_zero(solver):
    """A warm-up can start at zero; AdamW's decay must not be relative to that rate."""
    params = parameters()
    start = values(params)
    rates = (0.0, 0.01, 0.1)
    optimizer = Optimizer(params, SolverKeys.of({**SOLVERS[solver], 'weight_decay': 0.3}))
    train(optimizer, params, rates)
    assert_values(params, expected_values(start, solver, rates, 0.3))


def test_the_argument_replaces_the_weight_decay_of_the_config():
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys.of({'weight_decay': 0.3}), weight_decay=0.1), params)
    assert_values(params, expected_values(start, 'momentum', RISING, 0.1))


# Groups


@pytest.mark.parametrize('solver', SOLVERS)
def test_groups_have_their_own_learning_rate_and_decay(solver):
    params = parameters()
    start = values(params)
    config = {
        **SOLVERS[solver],
        'weight_decay': 0.3,
        'lr_factors': ['*/conv/*=10', 'head/*=2'],
        'no_decay': ['*/b', '*/bn/*'],
    }
    train(Optimizer(params, SolverKeys.of(config)), params)
    for name, factor, decay in (
        ('stem/conv/W', 10, 0.3),
        ('stem/conv/b', 10, 0.0),
        ('stem/bn/gamma', 1, 0.0),
        ('head/conv/W', 2, 0.3),
        ('scale', 1, 0.3),
    ):
        rates = [factor * rate for rate in RISING]
        assert_values(params, expected_values({name: start[name]}, solver, rates, decay))


def test_a_factor_of_zero_freezes_parameters():
    for solver in SOLVERS:
        params = parameters()
        start = values(params)
        config = {**SOLVERS[solver], 'weight_decay': 0.3, 'lr_factors': ['stem/*=0']}
        train(Optimizer(params, SolverKeys.of(config)), params)
        for name in SHAPES:
            assert np.array_equal(params[name].d, start[name]) == name.startswith('stem'), name


@pytest.mark.parametrize(
    ('config', 'message'),
    (
        ({'lr_factors': ['back*=0.1']}, r"^lr_factors: 'back\*' matches no .* stem/conv/W"),
        ({'no_decay': ['*/beta']}, r"^no_decay: '\*/beta' matches no parameter; there are "),
        ({'lr_factors': ['stem/*']}, "^lr_factors: write 'stem/\\*' as pattern=factor"),
        ({'lr_factors': ['stem/*=fast']}, '^lr_factors: write '),
        ({'lr_factors': ['stem/*=-1']}, '^lr_factors: write '),
        ({'lr_factors': ['stem/*=nan']}, '^lr_factors: write '),
        ({'lr_factors': ['=2']}, '^lr_factors: write '),
        ({'solver': 'adam', 'beta2': 1.0}, '^beta2: must be less than 1'),
    ),
)
def test_errors_name_the_key(config, message):
    with pytest.raises(UserError, match=message):
        Optimizer(parameters(), SolverKeys.of(config))


# Gradients

GROUPS = {'lr_factors': ['head/*=10'], 'no_decay': ['*/b']}


def test_clipping_scales_by_the_norm_of_all_groups_together():
    params = parameters()
    optimizer = Optimizer(params, SolverKeys.of(GROUPS))
    set_gradients(params, 1)
    norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients(1).values()))
    assert optimizer.clip(norm / 4) == pytest.approx(norm, rel=1e-6)
    for name, gradient in gradients(1).items():
        assert params[name].g == pytest.approx(gradient / 4, rel=1e-5)


def test_clipping_does_not_change_smaller_gradients():
    params = parameters()
    set_gradients(params, 1)
    assert 0 < Optimizer(params, SolverKeys.of(GROUPS)).clip(1e3) < 1e3
    for name, gradient in gradients(1).items():
        assert np.array_equal(params[name].g, gradient)


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('value', (np.inf, -np.inf, np.nan))
def test_gradients_that_are_not_finite_are_detected_and_not_clipped(name, value):
    params = parameters()
    optimizer = Optimizer(params, SolverKeys.of(GROUPS))
    set_gradients(params, 1)
    assert not optimizer.has_overflow()
    gradient = gradients(1)[name]
    gradient.flat[-1] = value
    params[name].g = gradient
    assert optimizer.has_overflow()
    assert not np.isfinite(optimizer.clip(1.0))
    assert np.array_equal(params[name].g, gradient, equal_nan=True)


def test_gradients_are_scaled_and_zeroed_in_all_groups():
    params = parameters()
    optimizer = Optimizer(params, SolverKeys.of(GROUPS))
    set_gradients(params, 1)
    optimizer.scale_grad(0.5)
    for name, gradient in gradients(1).items():
        assert np.array_equal(params[name].g, gradient / 2)
    optimizer.zero_grad()
    assert not any(parameter.g.any() for parameter in params.values())


def test_gradients_of_several_backward_passes_add_up():
    params = parameters()
    optimizer = Optimizer(params, SolverKeys.of(GROUPS))
    optimizer.zero_grad()
    x = params['stem/bn/gamma']
    loss = x * x
    for _ in range(3):
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)
    assert x.g == pytest.approx(6 * x.d, rel=1e-6)


# States


@pytest.mark.parametrize('solver', SOLVERS)
def test_training_continues_from_a_state_bit_for_bit(solver):
    config = {**SOLVERS[solver], 'weight_decay': 0.3, **GROUPS}
    params = parameters()
    optimizer = Optimizer(params, SolverKeys.of(config))
    train(optimizer, params)
    state, weights = optimizer.state(), values(params)
    train(optimizer, params, seed=20)

    resumed = parameters(seed=5)
    other = Optimizer(dict(reversed(resumed.items())), SolverKeys.of(config))
    train(other, resumed, RISING[:2], seed=30)
    for name, value in weights.items():
        resumed[name].d = value
    other.load_state(state)
    train(other, resumed, seed=20)
    for name, value in values(params).items():
        assert np.array_equal(resumed[name].d, value), name
    assert other.state().keys() == state.keys()


def test_a_state_is_a_copy():
    params = parameters()
    optimizer = Optimizer(params, SolverKeys())
    train(optimizer, params)
    state = optimizer.state()
    kept = {name: array.copy() for name, array in state.items()}
    train(optimizer, params)
    assert all(np.array_equal(state[name], array) for name, array in kept.items())
    assert not np.array_equal(state['stem/conv/W/m'], optimizer.state()['stem/conv/W/m'])


def test_a_state_that_does_not_fit_changes_nothing():
    params = parameters()
    optimizer = Optimizer(params, SolverKeys())
    train(optimizer, params)
    state = optimizer.state()
    zeros = {name: np.zeros_like(array) for name, array in state.items()}
    wrong_shape = {**zeros, 'head/conv/W/m': np.zeros((2, 4), np.float32)}
    missing = {name: array for name, array in zeros.items() if name != 'scale/m'}
    adam = Optimizer(parameters(), SolverKeys.of({'solver': 'adam'})).state()
    for arrays, message in (
        (wrong_shape, r'head/conv/W/m has shape \(2, 4\) instead of \(2, 4, 1, 1\)'),
        (missing, 'scale/m is missing'),
        ({**zeros, 'tail/m': np.zeros(2)}, 'tail/m is unknown here'),
        (adam, 'is missing'),
    ):
        with pytest.raises(UserError, match=message):
            optimizer.load_state(arrays)
        assert all(np.array_equal(optimizer.state()[name], array) for name, array in state.items())
