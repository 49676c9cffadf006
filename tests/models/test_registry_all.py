"""Every network of the registry, at the smallest size that it can take: `make test-all`."""

import nnabla as nn
import nnabla.functions as F
import nnabla.solvers as S
import numpy as np
import pytest

import helpers
import models
from d3net import layers as L
from models import complexity

pytestmark = [pytest.mark.whole_registry, pytest.mark.long, pytest.mark.timeout(1200)]

STEPS, FALL = 3, 0.002  # the share of the loss by which the gradient says that a step lowers it
# At the smallest sizes batch norms of two values a channel multiply gradients, up to infinity.
TRAINED_AT = {'csail': (64, 64)}  # the costliest; the others, where not larger, at 128x128
FORMS = (
    {'cuda': True},
    {'cuda': True, 'train': True},
    {'cuda': True, 'channel_last': True},
    {'cuda': True, 'channel_last': True, 'train': True},
)


def create(name):
    return models.create(name, **(helpers.TINY if name == 'd3net' else {}))


def least(network):
    return complexity.nearest_size(network.info, (1, 1))


def awkward(network):
    """Odd, or odd multiples, and far from square; twice as wide where the multiples are large."""
    step, smallest = network.info.size_divisor, least(network)[0]
    if step == 1:
        return smallest | 1, (smallest | 1) + 38
    return (3 * step, 5 * step) if step <= 32 else (smallest, smallest + step)


def kinds():
    """Shape of every registered parameter, and whether it is trained."""
    return {n: (p.shape, p.need_grad) for n, p in nn.get_parameters(grad_only=False).items()}


def noise(*shape, seed=0):
    return nn.Variable.from_numpy_array(
        np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
    )


@pytest.mark.parametrize('name', models.names())
def test_inference_and_saved_weights(name, tmp_path):
    """Logits are finite and of the right number of classes, and come back from a file."""
    network = create(name)
    smallest = noise(1, 3, *least(network))
    with helpers.zero_parameters():
        logits = network(smallest)[0]
    helpers.randomize_parameters()
    before = finite(network, logits)
    finite(network, network(noise(1, 3, *awkward(network)))[0])

    models.weights.save(tmp_path / 'weights.h5')
    expected = kinds()
    nn.clear_parameters()
    with helpers.zero_parameters():
        logits = network(smallest)[0]
    report = models.weights.load(tmp_path / 'weights.h5', strict=True)
    assert sorted(report.loaded) == sorted(expected) and kinds() == expected
    np.testing.assert_array_equal(finite(network, logits), before)


def finite(network, logits):
    logits.forward(clear_buffer=True)
    assert logits.shape[1] == network.info.num_classes
    assert np.isfinite(logits.d).all()
    return logits.d.copy()


@pytest.mark.parametrize('name', models.names())
def test_training_on_one_batch(name):
    """Every trainable parameter has a gradient, and the loss falls along it.

    Steps are as small as gradients are large: networks that nobody trained are steep, and one of
    the steps may go too far, where batch norm sees two values a channel.
    DABNet starts with scales of 0, behind which there are gradients from the second step on.
    """
    nn.seed(0)
    network = create(name)
    size = complexity.nearest_size(network.info, TRAINED_AT.get(network.family.name, (128, 128)))
    batch = 4 if size == least(network) else 2  # where the last maps are single pixels
    outputs = network(noise(batch, 3, *size), train=True, dropout=False)
    loss = sum(cross_entropy(logits) for logits in outputs)
    solver = S.Sgd()
    solver.set_parameters(nn.get_parameters())
    losses, untouched = [], set(nn.get_parameters())
    for _ in range(STEPS):
        loss.forward(clear_no_need_grad=True)
        losses.append(float(loss.d.item()))
        solver.zero_grad()
        loss.backward(clear_buffer=True)
        gradients = {n: p.g for n, p in nn.get_parameters().items()}
        assert [n for n, gradient in gradients.items() if not np.isfinite(gradient).all()] == []
        untouched -= {n for n, gradient in gradients.items() if np.any(gradient)}
        square = sum(np.square(gradient, dtype=np.float64).sum() for gradient in gradients.values())
        solver.set_learning_rate(FALL * losses[-1] / square)
        solver.update()
    assert untouched == set()
    assert min(losses[1:]) < losses[0], losses
    values = nn.get_parameters(grad_only=False)
    assert [n for n, p in values.items() if not np.isfinite(p.d).all()] == []


def cross_entropy(logits):
    shape = logits.shape[0], 1, *logits.shape[2:]
    labels = np.random.RandomState(1).randint(0, logits.shape[1], shape)
    return L.mean_all(F.softmax_cross_entropy(logits, nn.Variable.from_numpy_array(labels), axis=1))


@pytest.mark.parametrize('name', models.names())
def test_the_forms_for_gpus_have_the_same_parameters(name):
    network = create(name)
    x = nn.Variable((2, 3, *least(network)))
    with helpers.zero_parameters():
        outputs = network(x, aux=True)
        expected, shapes = kinds(), [logits.shape for logits in outputs]
        for form in FORMS:
            nn.clear_parameters()
            outputs = network(x, **{'aux': True, **form})
            assert kinds() == expected, form
            assert [logits.shape for logits in outputs] == shapes, form
