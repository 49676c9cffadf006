"""Batch norms followed by a sum and ReLU in one function, and batch norms in half precision."""

from types import SimpleNamespace

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from engine.training import gpu_check
from engine.training.gpu_check_child import compare_contexts
from layers import functions as L
from layers import norms
from layers.build import RECOMPUTE_POLICIES
from support import stand_ins
from support.broken_on_hopper import broken_on_hopper


class TwoEqualProcesses:
    """Stands in for the communicator of two processes with the same batch."""

    size, nnabla = 2, None

    def total(self, array):
        return 2 * np.asarray(array)


def plain_end(x, shortcut, name, build, **options):
    """End a residual block with three functions."""
    return L.relu(L.batch_norm(x, name, build, **options) + shortcut, build)


def two_blocks(x, end, build):
    """Build two residual blocks; the second adds the unchanged output of the first."""
    for name in ('a', 'b'):
        shortcut, options = x, dict(decay_rate=0.8, gamma=1.5)
        with L.scope(name):
            with L.recomputed_block(build):
                y = L.convolution(x, 4, 3, 'c', build)
                if name == 'a':
                    shortcut = L.convolution(x, 4, 1, 'd', build)
            x = end(y, shortcut, 'n', build, **options)
    return x


def step(end, **build):
    """Return all values and gradients after two training steps of the blocks."""
    nn.clear_parameters()
    values = np.random.RandomState(5).randn(3, 3, 6, 5).astype(np.float32)
    x = nn.Variable.from_numpy_array(values, need_grad=True)
    y = two_blocks(x, end, L.Build(train=True, **build))
    stand_ins.randomize_parameters()
    loss = F.sum(F.sin(y))
    everything = {'x': x, **nn.get_parameters(grad_only=False)}
    for variable in everything.values():
        variable.grad.zero()
    for _ in range(2):
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)
    results = {name: v.d.copy() for name, v in everything.items()}
    results |= {f'{n}.g': v.g.copy() for n, v in everything.items() if v.need_grad}
    return results | {'loss': loss.d.copy()}


def kinds(end, **build):
    types, build = [], L.Build(**build)
    x = L.to_layout(nn.Variable((2, 3, 6, 5)), build)
    two_blocks(x, end, build).visit(lambda f: types.append(f.info.type_name))
    return types


@pytest.mark.parametrize('policy', RECOMPUTE_POLICIES)
@pytest.mark.parametrize('cuda', [False, True])
@pytest.mark.parametrize(
    'others',
    [
        {},
        {'freeze_statistics': True},
        {'frozen': ('a/n/*',)},
        {'communicator': TwoEqualProcesses()},
    ],
    ids=lambda others: next(iter(others), 'alone'),
)
def test_a_training_step_equals_that_of_three_functions(others, cuda, policy):
    expected = step(plain_end, cuda=cuda, **others)
    found = step(L.bn_add_relu, cuda=cuda, recompute=policy, **others)
    assert expected.keys() == found.keys()
    assert np.any(expected['x.g'])
    for name in expected.keys() - {'x.g'}:
        assert np.array_equal(expected[name], found[name]), name
    # The gradients of two branches may be added in the other order.
    assert found['x.g'] == pytest.approx(expected['x.g'], abs=2e-6)


def test_inference_equals_that_of_three_functions():
    x = nn.Variable.from_numpy_array(np.random.RandomState(5).randn(2, 3, 6, 5).astype(np.float32))
    expected = two_blocks(x, plain_end, L.Build())
    stand_ins.randomize_parameters()
    for build in ({}, {'cuda': True}):
        found = two_blocks(x, L.bn_add_relu, L.Build(**build))
        nn.forward_all([expected, found])
        assert np.array_equal(expected.d, found.d)


def test_channel_last_gives_the_same_outputs():
    values = np.random.RandomState(5).randn(2, 3, 6, 5).astype(np.float32)
    expected = two_blocks(nn.Variable.from_numpy_array(values), L.bn_add_relu, L.Build())
    stand_ins.randomize_parameters()
    build = L.Build(cuda=True, channel_last=True)
    x = L.to_layout(nn.Variable.from_numpy_array(values), build)
    found = L.from_layout(two_blocks(x, L.bn_add_relu, build), build)
    expected.forward()
    assert stand_ins.run_channel_last(found) == pytest.approx(expected.d, abs=1e-5)


def test_only_some_builds_use_one_function():
    for build in ({}, {'train': True}):
        types = kinds(L.bn_add_relu, cuda=True, **build)
        assert types.count('FusedBatchNormalization') == 2
        assert not {'Add2', 'ReLU', 'BatchNormalization'} & set(types)
    assert 'FusedBatchNormalization' not in kinds(L.bn_add_relu)
    apart = dict(cuda=True, train=True)
    for others in (
        {'freeze_statistics': True},
        {'channel_last': True},
        {'communicator': TwoEqualProcesses()},
    ):
        assert 'FusedBatchNormalization' not in kinds(L.bn_add_relu, **apart, **others)


def test_the_outputs_of_blocks_are_kept():
    """Each policy frees outputs of these function types, but not the sum or the one function."""
    freed = {}
    for policy in RECOMPUTE_POLICIES:
        for cuda in (False, True):
            build = L.Build(train=True, cuda=cuda, recompute=policy)
            found = freed[policy, cuda] = set()
            y = two_blocks(nn.Variable((2, 3, 6, 5)), L.bn_add_relu, build)
            y.visit(lambda f, found=found: found.update(
                {f.info.type_name} if f.outputs[0].recompute else ()
            ))  # fmt: skip
    assert freed['bn_relu', False] == {'Normalization', 'ReLU'}
    assert freed['blocks', False] == {'Normalization', 'Add2', 'Convolution'}
    assert freed['bn_relu', True] == set()
    assert freed['blocks', True] == {'Convolution'}


def test_the_gpu_check_compares_the_fused_sum_too():
    """The fused function with a shortcut is a kind of its own, with the shortcut's gradient."""
    build = L.Build(train=True, cuda=True)
    x = nn.Variable((2, 4, 6, 6), need_grad=True)
    y = L.bn_add_relu(L.bn_relu(x, 'a', build), x, 'b', build)
    specs, skipped = gpu_check.collect_functions(L.mean_all(L.adaptive_average_pool(y, 3, build)))
    assert not skipped
    kinds = {(spec.type, len(spec.shapes)): spec for spec in specs}
    assert kinds['FusedBatchNormalization', 6].gradients == [True] * 3 + [False] * 2 + [True]
    assert {('FusedBatchNormalization', 5), ('Affine', 2)} < kinds.keys()
    cpu = nn.get_current_context()
    for spec in specs:
        assert broken_on_hopper(spec) is None
        assert compare_contexts(spec, cpu, cpu, lambda part: None) is None


# Computes in half precision wherever NNabla's CPU functions support it.
HALF = nn.Context(['cpu:half', 'cpu:float'], 'CpuCachedArray', '0')


def test_synchronized_statistics_are_taken_in_float(monkeypatch):
    """In half precision NNabla cannot count more than 65504 pixels."""
    seen = []

    def function(x, *parameters, **options):
        seen.append((nn.get_current_context().backend, options['comm']))
        return x

    monkeypatch.setattr(norms.F, 'sync_batch_normalization', function)
    communicator = SimpleNamespace(size=2, nnabla='over GPUs')
    with nn.context_scope(HALF):
        x = nn.Variable((2, 4, 3, 3))
        L.batch_norm(x, 'n', L.Build(train=True, cuda=True, communicator=communicator))
        assert nn.get_current_context().backend == HALF.backend
    assert seen == [(['cpu:float'], 'over GPUs')]


def test_a_fixed_batch_norm_in_half_precision_has_its_factors_in_float():
    """Neither 1e5 nor 1e-9 + 1e-5 can be represented in half precision."""
    rng = np.random.RandomState(2)
    var = np.array([1e5, 1e-9, 1.0], np.float32).reshape(1, 3, 1, 1)
    x = (rng.randn(2, 3, 4, 4) * np.sqrt(var)).astype(np.float32)
    beta, gamma, mean = (rng.rand(1, 3, 1, 1).astype(np.float32) for _ in range(3))
    mean *= np.sqrt(var)
    inputs = [nn.Variable.from_numpy_array(a) for a in (x, beta, gamma, mean, var)]
    with nn.context_scope(HALF):
        y = norms.scale_and_shift(*inputs, 1e-5)
        y.forward()
    expected = (x - mean) / np.sqrt(var.astype(np.float64) + 1e-5) * gamma + beta
    assert y.d == pytest.approx(expected, abs=5e-3)
