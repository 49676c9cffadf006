"""Solvers against PyTorch's documented formulas in float64, and what training needs around them."""

import nnabla as nn
import numpy as np
import pytest

from common.errors import UserError
from engine.training.moving_average import MovingAverage
from engine.training.optimizer import Optimizer, SolverKeys

SHAPES = {
    'stem/conv/W': (4, 3, 3, 3),
    'stem/conv/b': (4,),
    'stem/bn/gamma': (1, 4, 1, 1),
    'head/conv/W': (2, 4, 1, 1),
    'scale': (),
}
SOLVERS = {
    'momentum': {'solver': 'momentum'},
    'nesterov': {'solver': 'nesterov'},
    'pytorch momentum': {'solver': 'momentum', 'momentum_form': 'pytorch'},
    'pytorch nesterov': {'solver': 'nesterov', 'momentum_form': 'pytorch'},
    'adam': {'solver': 'adam'},
    'adamw': {'solver': 'adamw'},
}
RISING, STEADY = (0.01, 0.03, 0.1), (0.03, 0.03, 0.03)


def parameters(seed=0):
    rng = np.random.RandomState(seed)
    made = {name: nn.Variable(shape, need_grad=True) for name, shape in SHAPES.items()}
    for parameter in made.values():
        parameter.d = np.array(rng.randn(*parameter.shape), np.float32)
        parameter.g = np.zeros(parameter.shape, np.float32)
    return made


def gradients(seed):
    rng = np.random.RandomState(seed)
    return {name: np.array(rng.randn(*shape), np.float32) for name, shape in SHAPES.items()}


def set_gradients(params, seed):
    for name, gradient in gradients(seed).items():
        params[name].g = gradient


def values(params):
    return {name: parameter.d.copy() for name, parameter in params.items()}


def train(optimizer, params, rates=RISING, seed=10):
    for number, rate in enumerate(rates):
        set_gradients(params, seed + number)
        optimizer.update(rate)


# The formulas, for one parameter: w the weights, gs the gradients, lrs the learning rates.


def pytorch_sgd(w, gs, lrs, decay, momentum, nesterov):
    buffer = 0.0
    for g, lr in zip(gs, lrs):
        g = g + decay * w
        buffer = momentum * buffer + g
        w = w - lr * (g + momentum * buffer if nesterov else buffer)
    return w


def published_sgd(w, gs, lrs, decay, momentum, nesterov):
    """The learning rate is inside of what momentum gathers."""
    velocity = 0.0
    for g, lr in zip(gs, lrs):
        g = g + decay * w
        velocity = momentum * velocity + lr * g
        w = w - (lr * g + momentum * velocity if nesterov else velocity)
    return w


def adam(w, gs, lrs, decay, decoupled, beta1=0.9, beta2=0.999, eps=1e-8):
    """PyTorch's, but for the place of epsilon: there it is not divided by the bias."""
    m = v = 0.0
    for t, (g, lr) in enumerate(zip(gs, lrs), start=1):
        if decoupled:
            w = w - lr * decay * w
        else:
            g = g + decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        bias = np.sqrt(1 - beta2**t)
        w = w - lr * (m / (1 - beta1**t)) / (np.sqrt(v) / bias + eps / bias)
    return w


def expected_values(start, solver, lrs, decay=0.0, **options):
    found = {}
    for name, value in start.items():
        gs = [gradients(10 + number)[name].astype(np.float64) for number in range(len(lrs))]
        w = value.astype(np.float64)
        if not solver.startswith('adam'):
            formula = pytorch_sgd if solver.startswith('pytorch') else published_sgd
            nesterov = solver.endswith('nesterov')
            found[name] = formula(w, gs, lrs, decay, options.get('momentum', 0.9), nesterov)
        else:
            found[name] = adam(w, gs, lrs, decay, solver == 'adamw', **options)
    return found


def check(params, expected):
    for name, value in expected.items():
        assert params[name].d == pytest.approx(value, rel=1e-5, abs=1e-5), name
        assert params[name].d.dtype == np.float32


@pytest.mark.parametrize('decay', (0.0, 0.3))
@pytest.mark.parametrize('solver', SOLVERS)
def test_three_steps_with_a_changing_learning_rate(solver, decay):
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys.of({**SOLVERS[solver], 'weight_decay': decay})), params)
    check(params, expected_values(start, solver, RISING, decay))


@pytest.mark.parametrize('solver', ('momentum', 'nesterov'))
def test_momentum_is_pytorchs_while_the_learning_rate_is_constant(solver):
    params = parameters()
    start = values(params)
    config = {**SOLVERS[solver], 'weight_decay': 0.3, 'momentum': 0.8}
    train(Optimizer(params, SolverKeys.of(config)), params, STEADY)
    for name, value in start.items():
        gs = [gradients(10 + number)[name].astype(np.float64) for number in range(3)]
        expected = pytorch_sgd(value, gs, STEADY, 0.3, 0.8, solver == 'nesterov')
        assert params[name].d == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize('schedule', ['warmup', 'milestone', 'poly', 'to zero'])
@pytest.mark.parametrize('solver', ['momentum', 'nesterov', 'pytorch momentum', 'pytorch nesterov'])
def test_both_forms_of_momentum_over_rates_that_change(solver, schedule):
    """And they are not the same: this is what the key is for."""
    count = 30
    rates = {
        'warmup': [0.01 * (0.1 + 0.9 * min(i / 10, 1)) for i in range(count)],
        'milestone': [0.01 if i < 15 else 0.001 for i in range(count)],
        'poly': [0.01 * (1 - i / count) ** 0.9 for i in range(count)],
        'to zero': [0.0, 0.01, 0.0, *[0.01] * (count - 3)],
    }[schedule]
    params = parameters()
    start = values(params)
    train(
        Optimizer(params, SolverKeys.of({**SOLVERS[solver], 'weight_decay': 0.01})), params, rates
    )
    check(params, expected_values(start, solver, rates, 0.01))
    other = solver.removeprefix('pytorch ') if 'pytorch' in solver else f'pytorch {solver}'
    otherwise = expected_values(start, other, rates, 0.01)
    assert max(abs(params[n].d - value).max() for n, value in otherwise.items()) > 1e-3


@pytest.mark.parametrize('solver', ['momentum', 'nesterov'])
def test_the_state_of_one_form_of_momentum_is_not_taken_for_the_others(solver):
    states = {}
    for name in (solver, f'pytorch {solver}'):
        optimizer = Optimizer(parameters(), SolverKeys.of(SOLVERS[name]))
        states[name] = optimizer, optimizer.state()
    (nnabla, of_nnabla), (pytorch, of_pytorch) = states.values()
    for optimizer, state in ((nnabla, of_pytorch), (pytorch, of_nnabla)):
        with pytest.raises(UserError, match="the solver's state does not fit"):
            optimizer.load_state(state)


@pytest.mark.parametrize('solver', ('adam', 'adamw'))
def test_the_options_of_adam(solver):
    params = parameters()
    start = values(params)
    config = {**SOLVERS[solver], 'beta1': 0.7, 'beta2': 0.9, 'epsilon': 1e-6, 'weight_decay': 0.1}
    train(Optimizer(params, SolverKeys.of(config)), params)
    options = dict(beta1=0.7, beta2=0.9, eps=1e-6)
    check(params, expected_values(start, solver, RISING, 0.1, **options))


def test_the_default_is_momentum_without_decay():
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys()), params)
    check(params, expected_values(start, 'momentum', RISING))


@pytest.mark.parametrize('solver', SOLVERS)
def test_a_first_learning_rate_of_zero(solver):
    """A warm-up may start from nothing; AdamW's decay must not be measured by it."""
    params = parameters()
    start = values(params)
    rates = (0.0, 0.01, 0.1)
    optimizer = Optimizer(params, SolverKeys.of({**SOLVERS[solver], 'weight_decay': 0.3}))
    train(optimizer, params, rates)
    check(params, expected_values(start, solver, rates, 0.3))


def test_the_argument_replaces_the_weight_decay_of_the_config():
    params = parameters()
    start = values(params)
    train(Optimizer(params, SolverKeys.of({'weight_decay': 0.3}), weight_decay=0.1), params)
    check(params, expected_values(start, 'momentum', RISING, 0.1))


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
        check(params, expected_values({name: start[name]}, solver, rates, decay))


def test_a_factor_of_zero_keeps_parameters_where_they_are():
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
def test_mistakes_name_the_key(config, message):
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


def test_clipping_leaves_smaller_gradients_alone():
    params = parameters()
    set_gradients(params, 1)
    assert 0 < Optimizer(params, SolverKeys.of(GROUPS)).clip(1e3) < 1e3
    for name, gradient in gradients(1).items():
        assert np.array_equal(params[name].g, gradient)


@pytest.mark.parametrize('name', SHAPES)
@pytest.mark.parametrize('value', (np.inf, -np.inf, np.nan))
def test_gradients_that_are_not_finite(name, value):
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


# The moving average


def test_the_average_follows_its_formula():
    params = parameters()
    average = MovingAverage(params, 0.15)
    expected = {name: value.astype(np.float64) for name, value in values(params).items()}
    for t in range(4):
        for name, value in gradients(t).items():
            params[name].d = value
        average.update()
        decay = min(0.15, (1 + t) / (10 + t))
        for name, value in gradients(t).items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    with average.applied():
        check(params, expected)


def test_the_average_forgets_the_first_weights():
    """A decay of 0.999 from the start would keep 99.9 % of them."""
    params = parameters()
    average = MovingAverage(params, 0.999)
    for parameter in params.values():
        parameter.d = parameter.d + 1
    start = values(params)
    average.update()
    with average.applied():
        check(params, {name: value - 0.1 for name, value in start.items()})


def test_live_weights_come_back_bit_for_bit_and_the_graph_sees_the_average():
    params = parameters()
    y = params['stem/bn/gamma'] * 2
    average = MovingAverage(params, 0.9)
    averages = values(params)
    for name, value in gradients(1).items():
        params[name].d = value
    for _ in range(2):
        with average.applied():
            y.forward()
            assert np.array_equal(y.d, averages['stem/bn/gamma'] * 2)
    with pytest.raises(KeyError), average.applied():
        for parameter in params.values():
            parameter.d = np.zeros(parameter.shape, np.float32)
        raise KeyError
    for name, value in gradients(1).items():
        assert np.array_equal(params[name].d, value)
    with average.applied():
        assert all(np.array_equal(params[name].d, value) for name, value in averages.items())


def test_an_average_continues_from_its_state_bit_for_bit():
    params, other = parameters(), parameters(seed=5)
    average, resumed = MovingAverage(params, 0.9), MovingAverage(other, 0.9)
    train(Optimizer(params, SolverKeys()), params)
    average.update()
    resumed.load_state(average.state())
    for name, value in gradients(3).items():
        params[name].d, other[name].d = value, value
    for one in (average, resumed):
        one.update()
    found = resumed.state()
    assert found.keys() == average.state().keys()
    assert all(np.array_equal(found[name], array) for name, array in average.state().items())


def test_the_state_of_an_average_must_fit():
    average = MovingAverage(parameters(), 0.9)
    state = average.state()
    del state['average/scale']
    with pytest.raises(UserError, match='average/scale is missing'):
        average.load_state(state)
