"""Both forms of momentum, the published one and PyTorch's, against their formulas."""

import numpy as np
import pytest

from common.errors import UserError
from engine.training.optimizer import Optimizer, SolverKeys
from support.expected_updates import (
    SOLVERS,
    STEADY,
    assert_values,
    expected_values,
    gradients,
    parameters,
    pytorch_sgd,
    train,
    values,
)


@pytest.mark.parametrize('solver', ('momentum', 'nesterov'))
def test_both_forms_agree_while_the_learning_rate_is_constant(solver):
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
def test_both_forms_with_a_changing_learning_rate(solver, schedule):
    """Each form follows its formula, and the two differ."""
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
    assert_values(params, expected_values(start, solver, rates, 0.01))
    other = solver.removeprefix('pytorch ') if 'pytorch' in solver else f'pytorch {solver}'
    otherwise = expected_values(start, other, rates, 0.01)
    assert max(abs(params[n].d - value).max() for n, value in otherwise.items()) > 1e-3


@pytest.mark.parametrize('solver', ['momentum', 'nesterov'])
def test_the_state_of_one_form_does_not_fit_the_other(solver):
    states = {}
    for name in (solver, f'pytorch {solver}'):
        optimizer = Optimizer(parameters(), SolverKeys.of(SOLVERS[name]))
        states[name] = optimizer, optimizer.state()
    (nnabla, of_nnabla), (pytorch, of_pytorch) = states.values()
    for optimizer, state in ((nnabla, of_pytorch), (pytorch, of_nnabla)):
        with pytest.raises(UserError, match="the solver's state does not fit"):
            optimizer.load_state(state)
