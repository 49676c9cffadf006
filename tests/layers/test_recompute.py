"""Gradients with recomputation, for every function of one map that can read a recomputed map."""

from functools import cache

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from layers import functions as L
from layers import recompute

ACTIVATIONS = {
    'bn_relu': lambda x, build: L.bn_relu(x, 'norm', build),
    'bn_relu6': lambda x, build: L.bn_relu6(x, 'norm', build),
    'bn_swish': lambda x, build: L.swish(L.batch_norm(x, 'norm', build), build),
    'bn': lambda x, build: L.batch_norm(x, 'norm', build),
}
UNARY = (
    'abs', 'asinh', 'atan', 'ceil', 'celu', 'cos', 'cosh', 'crelu', 'elu', 'erf', 'exp', 'floor',
    'gelu', 'global_average_pooling', 'hard_sigmoid', 'hard_tanh', 'identity', 'leaky_relu',
    'log_sigmoid', 'log_softmax', 'mish', 'relu', 'relu6', 'round', 'selu', 'sigmoid', 'sin',
    'sinc', 'sinh', 'softmax', 'softplus', 'softsign', 'swish', 'tanh', 'tanh_shrink',
)  # fmt: skip
SCALAR = (
    'add_scalar', 'maximum_scalar', 'minimum_scalar', 'mul_scalar', 'pow_scalar',
    'r_pow_scalar', 'r_sub_scalar', 'sign',
)  # fmt: skip
BINARY = ('add2', 'maximum2', 'minimum2', 'mul2', 'sub2')  # all that are finite for any map
CONSUMERS = {  # name -> function of the recomputed map h and another map o
    **{name: lambda h, o, name=name: getattr(F, name)(h) for name in UNARY},
    **{name: lambda h, o, name=name: getattr(F, name)(h, 2.0) for name in SCALAR},
    **{name: lambda h, o, name=name: getattr(F, name)(h, o * o + 1) for name in BINARY},
    **{f'{name}, 2': lambda h, o, name=name: getattr(F, name)(o * o + 1, h) for name in BINARY},
    'div2': lambda h, o: F.div2(h, o * o + 1),
    'h * 2': lambda h, o: h * 2,
    'h / 2': lambda h, o: h / 2,
    '1 - h': lambda h, o: 1 - h,
    'h + 1': lambda h, o: h + 1,
    'h - mean': lambda h, o: h - F.mean(h, axis=(2, 3), keepdims=True),
    'pooling': lambda h, o: F.average_pooling(h, (2, 2)),
    'max pooling': lambda h, o: F.max_pooling(h, (2, 2)),
    'interpolation': lambda h, o: F.interpolate(h, output_size=(16, 16), mode='linear'),
    'slice': lambda h, o: h[:, :2],
    'concatenation': lambda h, o: F.concatenate(h, o * 2, axis=1),
    'dropout': lambda h, o: F.dropout(h, 0.5, seed=3),
    'gate': lambda h, o: h * F.sigmoid(h),
    'gate of another': lambda h, o: o * F.sigmoid(h),
    'deep branch and convolution': lambda h, o: (
        F.tanh(F.tanh(1 - h)) + L.convolution(h, 4, 1, 'other', L.Build(train=True))
    ),
    'convolution and difference': lambda h, o: (
        L.convolution(F.tanh(L.convolution(h, 4, 1, 'a', L.Build())), 4, 1, 'b', L.Build()) + 1 - h
    ),
    'twice': lambda h, o: F.relu(1 - F.relu(h * 2)),
}
WRONG_IN_NNABLA = (
    'h * 2', 'h + 1', '1 - h', 'sigmoid', 'tanh', 'exp', 'sign', 'sub2', 'sub2, 2', 'ceil', 'floor',
    'round', 'h - mean', 'convolution and difference',
)  # fmt: skip


def gradients(activation, consumer, policy, keep=True):
    """Return the gradients of a small graph with a recomputed map and its consumer.

    Args:
        activation: Key of ``ACTIVATIONS``: the function that computes the map.
        consumer: Key of ``CONSUMERS``: the function that reads it.
        policy: Recompute policy.
        keep: Exclude the inputs of spurious readers from recomputation.
    """
    nn.clear_parameters()
    nn.random.set_parameter_seed(1)
    build = L.Build(train=True, recompute=policy)
    rng = np.random.RandomState(0)
    x = nn.Variable.from_numpy_array(rng.standard_normal((2, 4, 8, 8)).astype(np.float32))
    other = L.convolution(x, 4, 3, 'second', L.Build(train=True))
    with L.recomputed_block(build):
        h = ACTIVATIONS[activation](L.convolution(x, 4, 3, 'first', build), build)
    y = CONSUMERS[consumer](h, other)
    loss = L.mean_all(L.convolution(y, 3, 1, 'last', L.Build(train=True)) ** 2)
    if keep:
        recompute.keep_inputs_of_spurious_readers(loss)
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    return {name: parameter.g.copy() for name, parameter in nn.get_parameters().items()}


@cache
def expected_gradients(activation, consumer):
    """Return the gradients without recomputation."""
    return gradients(activation, consumer, 'none')


def differing(found, expected):
    """Return the names of the gradients that differ in any bit."""
    assert all(np.isfinite(gradient).all() for gradient in expected.values())
    return [n for n in expected if not np.array_equal(found[n], expected[n])]


def check_all_consumers(activation, consumers):
    for consumer in consumers:
        expected = expected_gradients(activation, consumer)
        for policy in ('bn_relu', 'convolution', 'blocks'):
            found = gradients(activation, consumer, policy)
            assert differing(found, expected) == [], (consumer, policy)


def test_every_consumer_of_a_recomputed_relu_gets_the_same_gradients():
    check_all_consumers('bn_relu', CONSUMERS)


@pytest.mark.parametrize('activation', [name for name in ACTIVATIONS if name != 'bn_relu'])
def test_sensitive_consumers_of_other_activations_get_the_same_gradients(activation):
    check_all_consumers(activation, WRONG_IN_NNABLA)


@pytest.mark.whole_registry
@pytest.mark.parametrize('activation', [name for name in ACTIVATIONS if name != 'bn_relu'])
def test_every_consumer_of_other_activations_gets_the_same_gradients(activation):
    check_all_consumers(activation, CONSUMERS.keys() - set(WRONG_IN_NNABLA))


@pytest.mark.parametrize('consumer', WRONG_IN_NNABLA)
def test_nnabla_alone_computes_wrong_gradients(consumer):
    """If they were right, the workaround would be unnecessary."""
    expected = expected_gradients('bn_relu', consumer)
    found = gradients('bn_relu', consumer, 'bn_relu', keep=False)
    assert differing(found, expected)


def test_only_inputs_of_spurious_readers_are_kept():
    build = L.Build(train=True, recompute='bn_relu')
    x = nn.Variable((2, 4, 8, 8))
    first = L.bn_relu(L.convolution(x, 4, 3, 'a', build), 'a', build)
    second = L.bn_relu(L.convolution(first, 4, 3, 'b', build), 'b', build)
    y = L.convolution(F.sigmoid(second), 4, 1, 'c', build)
    recompute.keep_inputs_of_spurious_readers(y)
    kept = []
    y.visit(lambda f: kept.append((f.info.type_name, f.outputs[0].recompute)))
    assert [n for n, r in kept if r] == ['Normalization', 'ReLU', 'Normalization']
