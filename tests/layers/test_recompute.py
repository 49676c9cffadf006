"""What reads a recomputed map, and gets the right gradients: every function of one map there is."""

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
BINARY = ('add2', 'maximum2', 'minimum2', 'mul2', 'sub2')  # and what is not finite for all maps
CONSUMERS = {
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
WRONG = (
    'h * 2', 'h + 1', '1 - h', 'sigmoid', 'tanh', 'exp', 'sign', 'sub2', 'sub2, 2', 'ceil', 'floor',
    'round', 'h - mean', 'convolution and difference',
)  # fmt: skip


def gradients(activation, consumer, policy, keep=True):
    """Gradients of a convolution, what is recomputed, what reads it, and another convolution."""
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


def differing(found, expected):
    assert all(np.isfinite(gradient).all() for gradient in expected.values())
    return [n for n in expected if not np.array_equal(found[n], expected[n])]


@pytest.mark.parametrize('policy', ['bn_relu', 'convolution', 'blocks'])
@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_whatever_reads_a_recomputed_map_gets_the_same_gradients(activation, policy):
    for consumer in CONSUMERS:
        expected = gradients(activation, consumer, 'none')
        assert differing(gradients(activation, consumer, policy), expected) == [], consumer


@pytest.mark.parametrize('consumer', WRONG)
def test_nnabla_alone_gets_them_wrong(consumer):
    """Else there would be nothing to mend."""
    expected = gradients('bn_relu', consumer, 'none')
    found = gradients('bn_relu', consumer, 'bn_relu', keep=False)
    assert differing(found, expected)


def test_only_what_is_touched_is_kept():
    build = L.Build(train=True, recompute='bn_relu')
    x = nn.Variable((2, 4, 8, 8))
    first = L.bn_relu(L.convolution(x, 4, 3, 'a', build), 'a', build)
    second = L.bn_relu(L.convolution(first, 4, 3, 'b', build), 'b', build)
    y = L.convolution(F.sigmoid(second), 4, 1, 'c', build)
    recompute.keep_inputs_of_spurious_readers(y)
    kept = []
    y.visit(lambda f: kept.append((f.info.type_name, f.outputs[0].recompute)))
    assert [n for n, r in kept if r] == ['Normalization', 'ReLU', 'Normalization']
