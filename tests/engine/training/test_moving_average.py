"""The moving average of the weights."""

import numpy as np
import pytest

from common.errors import UserError
from engine.training.moving_average import MovingAverage
from engine.training.optimizer import Optimizer, SolverKeys
from support.expected_updates import (
    assert_values,
    gradients,
    parameters,
    train,
    values,
)


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
        assert_values(params, expected)


def test_the_first_weights_are_discounted():
    """After one update, a constant decay of 0.999 would keep 99.9 % of them."""
    params = parameters()
    average = MovingAverage(params, 0.999)
    for parameter in params.values():
        parameter.d = parameter.d + 1
    start = values(params)
    average.update()
    with average.applied():
        assert_values(params, {name: value - 0.1 for name, value in start.items()})


def test_the_graph_uses_the_average_and_live_weights_return_bit_for_bit():
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
