"""Batch norm in training on the CPU, compared with formulas in float64."""

import nnabla as nn
import numpy as np
import pytest

from layers import functions as L
from layers import sync_batch_norm

AXES = (0, 2, 3)
EPS, DECAY = 1e-5, 0.9


def reference(x, gradient, beta, gamma):
    """Return output, mean, unbiased variance and gradients of x, beta and gamma in float64."""
    x, gradient = x.astype(np.float64), gradient.astype(np.float64)
    beta, gamma = (v.astype(np.float64).reshape(1, -1, 1, 1) for v in (beta, gamma))
    mean = x.mean(AXES, keepdims=True)
    centred = x - mean
    variance = np.square(centred).mean(AXES, keepdims=True)
    scale = 1 / np.sqrt(variance + EPS)
    normalised = centred * scale
    of_beta, of_gamma = gradient.sum(AXES), (gradient * normalised).sum(AXES)
    count = x.size // x.shape[1]
    of_x = gradient - (of_beta / count).reshape(mean.shape)
    of_x = gamma * scale * (of_x - normalised * (of_gamma / count).reshape(mean.shape))
    unbiased = variance * count / (count - 1)
    return {
        'y': normalised * gamma + beta,
        'mean': mean.ravel(),
        'var': unbiased.ravel(),
        'x': of_x,
        'beta': of_beta,
        'gamma': of_gamma,
    }


def compute(x, gradient, beta, gamma, communicator=None):
    """Return the layer's results; its running statistics start at 0 and so show the batch's."""
    shape = (1, x.shape[1], 1, 1)
    arrays = (x, beta.reshape(shape), gamma.reshape(shape), np.zeros(shape), np.zeros(shape))
    variables = [nn.Variable.from_numpy_array(a.astype(np.float32)) for a in arrays]
    for variable in variables[:3]:
        variable.need_grad = True
        variable.grad.zero()
    y = sync_batch_norm.batch_norm(*variables, communicator, DECAY, EPS)
    y.forward()
    y.backward(gradient.astype(np.float32))
    found = [variables[i].g.copy() for i in range(3)]
    return {
        'y': y.d.copy(),
        'mean': variables[3].d.ravel() / (1 - DECAY),
        'var': variables[4].d.ravel() / (1 - DECAY),
        **dict(zip(('x', 'beta', 'gamma'), (found[0], found[1].ravel(), found[2].ravel()))),
    }


def seeded(shape, mean=1.5, deviation=1.0, seed=0):
    rng = np.random.RandomState(seed)
    x = (rng.standard_normal(shape) * deviation + mean).astype(np.float32)
    gradient = rng.standard_normal(shape).astype(np.float32)
    beta, gamma = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])
    return x, gradient, beta.astype(np.float32), gamma.astype(np.float32)


def errors(found, expected):
    return {
        key: np.linalg.norm(found[key] - value) / np.linalg.norm(value)
        for key, value in expected.items()
    }


@pytest.mark.parametrize(
    'shape',
    [(2, 3, 4, 5), (3, 7, 1, 1), (4, 130, 16, 17), (4, 2, 256, 512), (3, 1, 600, 700)],
)
@pytest.mark.parametrize('mean', [0.0, 1.5, 100.0])
def test_statistics_outputs_and_gradients(shape, mean):
    """Statistics are right to 1e-6 for a million values per channel, 100 deviations from zero."""
    arguments = seeded(shape, mean)
    found = errors(compute(*arguments), reference(*arguments))
    assert found['mean'] < 1e-6 or mean == 0
    assert found['var'] < 1e-6
    # The input itself is rounded to 6e-8 of its size.
    assert max(found[key] for key in ('y', 'x', 'beta', 'gamma')) < 2e-6 * max(1, mean)


@pytest.mark.parametrize('shape', [(4, 97, 16, 16), (2, 97, 128, 256)])
def test_a_constant_channel_gives_no_nan(shape):
    """Each channel has a single value, so its output is beta."""
    x, gradient, beta, gamma = seeded(shape)
    x[...] = np.linspace(0.1, 3, shape[1], dtype=np.float32).reshape(1, -1, 1, 1)
    found = compute(x, gradient, beta, gamma)
    assert all(np.isfinite(values).all() for values in found.values())
    assert abs(found['y'] - beta.reshape(1, -1, 1, 1)).max() < 1e-4
    assert found['mean'] == pytest.approx(x[0, :, 0, 0], rel=1e-6)
    assert abs(found['var']).max() < 1e-10


def test_nnabla_gives_nan_for_constants():
    """If it did not, the layer would be unnecessary."""
    import nnabla.functions as F

    x = np.linspace(0.1, 3, 97, dtype=np.float32).reshape(1, -1, 1, 1) + np.zeros((4, 97, 16, 16))
    arrays = [x, *(np.full((1, 97, 1, 1), value) for value in (0, 1, 0, 1))]
    inputs = [nn.Variable.from_numpy_array(a.astype(np.float32)) for a in arrays]
    y = F.batch_normalization(*inputs, batch_stat=True)
    y.forward()
    assert np.isnan(y.d).any()


class TwoEqualProcesses:
    """Stands in for the communicator of two processes with the same batch."""

    size, nnabla = 2, None

    def total(self, array):
        return 2 * array


def test_two_processes_equal_one_with_both_batches():
    x, gradient, beta, gamma = seeded((2, 5, 8, 9))
    found = compute(x, gradient, beta, gamma, TwoEqualProcesses())
    expected = reference(np.concatenate([x, x]), np.concatenate([gradient] * 2), beta, gamma)
    expected |= {key: expected[key][:2] for key in ('y', 'x')}
    expected |= {key: expected[key] / 2 for key in ('beta', 'gamma')}  # each process has its share
    assert max(errors(found, expected).values()) < 2e-6


@pytest.mark.parametrize('policy', ['none', 'bn_relu', 'blocks'])
@pytest.mark.parametrize('frozen', [(), ('norm/*/gamma', 'norm/*/beta')])
def test_running_statistics_count_forward_passes_but_no_recomputation(policy, frozen):
    """Passes without a backward pass between them count too, with or without trained parameters."""
    build = L.Build(train=True, recompute=policy, frozen=frozen)
    x = nn.Variable((2, 3, 4, 4))
    with L.recomputed_block(build):
        y = L.batch_norm(x, 'norm', build)
    loss = L.mean_all(L.convolution(y, 4, 1, 'conv', build))
    rng, expected = np.random.RandomState(0), np.zeros(3)
    for backward in (True, False, False, True, True):
        x.d = rng.rand(*x.shape)
        expected = DECAY * expected + (1 - DECAY) * x.d.mean(AXES)
        loss.forward(clear_no_need_grad=True)
        if backward:
            loss.backward(clear_buffer=True)
        mean = nn.get_parameters(grad_only=False)['norm/bn/mean'].d.ravel()
        assert mean == pytest.approx(expected, rel=1e-5)


def test_gradients_are_added_to_existing_ones():
    arguments = seeded((2, 3, 4, 5))
    shape = (1, 3, 1, 1)
    arrays = (arguments[0], arguments[2].reshape(shape), arguments[3].reshape(shape))
    x, beta, gamma = (nn.Variable.from_numpy_array(a) for a in arrays)
    for variable in (x, beta, gamma):
        variable.need_grad = True
        variable.g = 1.0
    statistics = [nn.Variable.from_numpy_array(np.zeros(shape, np.float32)) for _ in range(2)]
    y = sync_batch_norm.batch_norm(x, beta, gamma, *statistics, None, DECAY, EPS)
    y.forward()
    y.backward(arguments[1])
    expected = reference(*arguments)
    assert abs(x.g - 1 - expected['x']).max() < 1e-5
    assert beta.g.ravel() == pytest.approx(expected['beta'] + 1, rel=1e-5, abs=1e-5)
    assert gamma.g.ravel() == pytest.approx(expected['gamma'] + 1, rel=1e-5, abs=1e-5)
