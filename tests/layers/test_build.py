"""The settings of a build hold in every layer: frozen parameters, statistics, layout."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from common.patterns import matches
from layers import functions as L
from layers import sync_batch_norm
from layers.build import float_context
from support import stand_ins


def image(height=32, width=48):
    values = np.random.RandomState(0).randn(2, 3, height, width).astype(np.float32)
    return nn.Variable.from_numpy_array(values)


def step(**build):
    """Run one training step of a tiny D3Net.

    Returns:
        All parameters before the step, all parameters after it, and the gradients.
    """
    nn.clear_parameters()
    loss = L.mean_all(F.pow_scalar(stand_ins.tiny()(image(), train=True, **build)[0], 2))
    stand_ins.randomize_parameters()
    everything = nn.get_parameters(grad_only=False)
    before = {name: p.d.copy() for name, p in everything.items()}
    for parameter in everything.values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    gradients = {name: p.g.copy() for name, p in nn.get_parameters().items()}
    return before, {name: p.d.copy() for name, p in everything.items()}, gradients


def test_frozen_parameters_get_no_gradient_and_their_batch_norms_keep_their_statistics():
    patterns = ('backbone/dense1/*', 'backbone/conv1/*', '*/conv_seg/conv/b')
    before, after, gradients = step(frozen=patterns)
    frozen = [name for name in before if matches(name, patterns)]
    assert 0 < len(frozen) < len(before)
    for name in before:
        if name in frozen:
            assert np.array_equal(before[name], after[name]), name
            assert not np.any(gradients.get(name, 0)), name
        elif name in gradients:
            assert np.any(gradients[name]), name
        else:
            assert not np.array_equal(before[name], after[name]), name


@pytest.mark.parametrize('pattern', ['*/mean', '*/var'])
def test_a_frozen_mean_or_variance_freezes_both(pattern):
    before, after, _ = step(frozen=(pattern,))
    for name in before:
        still = name.endswith(('/mean', '/var'))
        assert np.array_equal(before[name], after[name]) or not still, name


def test_frozen_statistics_are_used_and_kept():
    before, after, gradients = step(freeze_statistics=True)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    nn.clear_parameters()
    x = image()
    training = stand_ins.tiny()(x, train=True, freeze_statistics=True)[0]
    evaluation = stand_ins.tiny()(x)[0]
    stand_ins.randomize_parameters()
    nn.forward_all([training, evaluation])
    assert np.array_equal(training.d, evaluation.d)
    assert all(np.any(gradient) for gradient in gradients.values())


def test_scale_and_shift_equals_batch_norm_with_fixed_statistics():
    _, _, expected = step(freeze_statistics=True)
    _, _, gradients = step(freeze_statistics=True, cuda=True)
    types = []
    stand_ins.tiny()(image(), train=True, freeze_statistics=True, cuda=True)[0].visit(
        lambda f: types.append(f.info.type_name)
    )
    assert not any('BatchNormalization' in name for name in types)
    for name in expected:
        scale = np.abs(expected[name]).max()
        assert gradients[name] == pytest.approx(expected[name], abs=2e-5 * scale), name


class SingleProcess:
    """Stands in for the communicator of one process."""

    size, nnabla = 1, None

    def total(self, array):
        return array


@pytest.mark.parametrize('policy', ['none', 'bn_relu'])
def test_batch_norm_on_the_cpu_equals_nnablas_up_to_rounding(policy):
    rng = np.random.RandomState(3)
    x = nn.Variable.from_numpy_array(
        (rng.randn(3, 4, 6, 5) * 2 + 5).astype(np.float32), need_grad=True
    )
    weights = nn.Variable.from_numpy_array(rng.randn(3, 4, 6, 5).astype(np.float32))
    results = []
    for function in ('nnabla', 'ours'):
        nn.clear_parameters()
        L.batch_norm(x, 'n', L.Build(train=True))
        stand_ins.randomize_parameters()
        p = nn.get_parameters(grad_only=False)
        arguments = [p[f'n/bn/{key}'] for key in ('beta', 'gamma', 'mean', 'var')]
        with nn.recompute(policy == 'bn_relu'):
            if function == 'ours':
                y = sync_batch_norm.batch_norm(x, *arguments, SingleProcess(), 0.9, 1e-5)
            else:
                y = F.batch_normalization(x, *arguments, batch_stat=True)
            y = F.relu(y)
        loss = F.sum(F.tanh(y * weights))
        for variable in (x, *arguments):
            variable.grad.zero()
        for _ in range(2):
            loss.forward(clear_no_need_grad=True)
            loss.backward(clear_buffer=True)
        results.append(
            [loss.d.copy(), x.g.copy(), *(a.g.copy() for a in arguments[:2])]
            + [a.d.copy() for a in arguments]
        )
    for expected, own in zip(*results):
        assert own == pytest.approx(expected, abs=2e-5 * np.abs(expected).max())


def test_channel_last_gives_the_same_outputs_from_the_same_parameters():
    x = image(36, 50)
    expected = stand_ins.tiny()(x)[0]
    stand_ins.randomize_parameters()
    shapes = {name: p.shape for name, p in nn.get_parameters(grad_only=False).items()}
    graph = stand_ins.tiny()(x, channel_last=True)[0]
    assert {name: p.shape for name, p in nn.get_parameters(grad_only=False).items()} == shapes
    kinds = {}
    graph.visit(
        lambda f: kinds.setdefault(f.info.type_name, []).append(f.info.args.get('channel_last'))
    )
    for kind in ('Convolution', 'AveragePooling', 'Interpolate'):
        assert all(kinds[kind]), kind
    expected.forward()
    assert stand_ins.run_channel_last(graph) == pytest.approx(expected.d, abs=1e-5)


def test_a_float_context_has_no_half_precision():
    half = nn.Context(['cudnn:half', 'cudnn:float', 'cuda:half', 'cuda:float', 'cpu:float'])
    assert float_context(half).backend == ['cudnn:float', 'cuda:float', 'cpu:float']
    assert float_context().backend == nn.get_current_context().backend
