"""Inputs, layouts and checks of the child process that compares NNabla's functions."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from engine.training import gpu_check_child
from engine.training.gpu_check_child import FunctionSpec
from engine.training.optimizer import SolverKeys
from support.gpu_check_specs import CONVOLUTION, convolution


def test_the_check_of_overflow_detects_it():
    parameter = nn.Variable((3,), need_grad=True)
    parameter.d, parameter.g = 0, 0
    (found,) = gpu_check_child.UPDATES['look for overflow']({'p': parameter}, SolverKeys())
    assert found.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    'spec',
    [
        convolution(arguments={**CONVOLUTION, 'pad': [0, 1], 'dilation': [1, 2]}),
        FunctionSpec(
            'MaxPooling',
            {'kernel': [2, 3], 'stride': [2, 3], 'ignore_border': True, 'pad': [0, 0]},
            [[2, 4, 6, 9]],
            ['distinct'],
            [True],
        ),
    ],
)
def test_channel_last_is_compared_with_channel_first(spec):
    """The CPU does not support channel_last, so the test computes both layouts itself."""
    ctx, quiet = nn.get_current_context(), lambda part: None
    shapes = [[shape[0], *shape[2:], shape[1]] for shape in spec.shapes]
    arguments = {**spec.arguments, 'channel_last': True}
    last = FunctionSpec(**{**vars(spec), 'shapes': shapes, 'arguments': arguments})
    first = {**arguments, 'channel_last': False}
    found = gpu_check_child.run_function(last, ctx, first, quiet)

    rng = np.random.RandomState(0)
    inputs = []
    for values, shape in zip(last.values, last.shapes):
        array = gpu_check_child.make_input(values, shape, False, rng)
        inputs.append(nn.Variable.from_numpy_array(array, need_grad=True))
    y = gpu_check_child.function_of(spec.type)(
        *(F.transpose(x, (0, 3, 1, 2)) for x in inputs), **first
    )
    y = F.transpose(y, (0, 2, 3, 1))
    y.forward()
    gradient = rng.normal(0, 0.1, y.shape).astype(np.float16).astype(np.float32)
    for x in inputs:
        x.g = 0
    y.backward(gradient)
    np.testing.assert_allclose(found['forward'][0], y.d, rtol=1e-5, atol=1e-6)
    for mine, x in zip(found['backward'], inputs):
        np.testing.assert_allclose(mine, x.g, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('values', ['normal', 'positive', 'distinct', 'labels:5'])
def test_inputs_are_exact_in_half_precision(values):
    array = gpu_check_child.make_input(values, (2, 1000), True, np.random.RandomState(0))
    assert values == 'distinct' or np.array_equal(array, array.astype(np.float16))
    if values == 'distinct':
        assert len(np.unique(array.astype(np.float16))) == array.size
    if values == 'labels:5':
        assert set(array.ravel()) == {-1, 0, 1, 2, 3, 4}
