"""Create small parameters with seeded gradients, and compute solvers' formulas in float64."""

import nnabla as nn
import numpy as np
import pytest

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
    """Create seeded parameters with zero gradients."""
    rng = np.random.RandomState(seed)
    made = {name: nn.Variable(shape, need_grad=True) for name, shape in SHAPES.items()}
    for parameter in made.values():
        parameter.d = np.array(rng.randn(*parameter.shape), np.float32)
        parameter.g = np.zeros(parameter.shape, np.float32)
    return made


def gradients(seed):
    """Return seeded gradients by name."""
    rng = np.random.RandomState(seed)
    return {name: np.array(rng.randn(*shape), np.float32) for name, shape in SHAPES.items()}


def set_gradients(params, seed):
    """Set the seeded gradients of all parameters."""
    for name, gradient in gradients(seed).items():
        params[name].g = gradient


def values(params):
    """Return copies of all values by name."""
    return {name: parameter.d.copy() for name, parameter in params.items()}


def train(optimizer, params, rates=RISING, seed=10):
    """Update the parameters once for each learning rate, with different gradients every time.

    Args:
        optimizer: The optimizer of the parameters.
        params: Parameters by name.
        rates: Learning rates of the updates.
        seed: Seed of the first update's gradients; it grows by 1 with every update.
    """
    for number, rate in enumerate(rates):
        set_gradients(params, seed + number)
        optimizer.update(rate)


def pytorch_sgd(w, gs, lrs, decay, momentum, nesterov):
    """Return the weights of one parameter after PyTorch's SGD.

    Args:
        w: The initial weights.
        gs: The gradients of all updates.
        lrs: The learning rates of all updates.
        decay: The weight decay.
        momentum: The share of the velocity that an update keeps.
        nesterov: Whether Nesterov's form is used.
    """
    buffer = 0.0
    for g, lr in zip(gs, lrs):
        g = g + decay * w
        buffer = momentum * buffer + g
        w = w - lr * (g + momentum * buffer if nesterov else buffer)
    return w


def published_sgd(w, gs, lrs, decay, momentum, nesterov):
    """Return the weights after the published SGD: the velocity includes the learning rate.

    Args:
        w: The initial weights.
        gs: The gradients of all updates.
        lrs: The learning rates of all updates.
        decay: The weight decay.
        momentum: The share of the velocity that an update keeps.
        nesterov: Whether Nesterov's form is used.
    """
    velocity = 0.0
    for g, lr in zip(gs, lrs):
        g = g + decay * w
        velocity = momentum * velocity + lr * g
        w = w - (lr * g + momentum * velocity if nesterov else velocity)
    return w


def adam(w, gs, lrs, decay, decoupled, beta1=0.9, beta2=0.999, eps=1e-8):
    """Return the weights after Adam; unlike PyTorch, epsilon is divided by the bias correction.

    Args:
        w: The initial weights.
        gs: The gradients of all updates.
        lrs: The learning rates of all updates.
        decay: The weight decay.
        decoupled: Whether the decay is AdamW's.
        beta1: Decay rate of the first moment.
        beta2: Decay rate of the second moment.
        eps: Added to the denominator.
    """
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
    """Return the values that a solver's formula gives after :func:`train`.

    Args:
        start: Values before the training, by name.
        solver: A key of ``SOLVERS``.
        lrs: Learning rates of the updates.
        decay: The weight decay.
        **options: Further arguments of the formula.
    """
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


def assert_values(params, expected):
    """Assert that parameters have the expected values in float32."""
    for name, value in expected.items():
        assert params[name].d == pytest.approx(value, rel=1e-5, abs=1e-5), name
        assert params[name].d.dtype == np.float32
