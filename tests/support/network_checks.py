"""What every network is held to besides its fixture."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from layers import functions as L
from layers.build import RECOMPUTE_POLICIES
from support import stand_ins

CALLS = (
    {'aux': True},
    {'train': True},
    {'train': True, 'freeze_statistics': True},
    {'cuda': True},
    {'cuda': True, 'train': True, 'recompute': 'blocks'},
    {'cuda': True, 'channel_last': True},
    {'cuda': True, 'channel_last': True, 'train': True},
)


def check_sizes(name, smallest, divisor):
    """The smallest size runs; smaller ones, and others that are no multiples, are refused in a
    line that names what is legal.
    """
    network = models.create(name)
    assert (network.info.smallest_size, network.info.size_divisor) == (smallest, divisor)
    with stand_ins.zero_parameters():
        logits = network(_seeded_image(1, smallest, smallest))[0]
    logits.forward(clear_buffer=True)
    assert np.isfinite(logits.d).all()
    legal = f'multiples of {divisor}, at least {smallest}'
    for size in (
        (smallest - divisor, smallest),
        (smallest, smallest + 1),
        (2 * smallest - 1, smallest),
    ):
        with pytest.raises(models.ModelError, match=f'{size[0]}x{size[1]} .*{legal}'):
            network(nn.Variable((1, 3, *size)))


def check_calls(name, outputs, **hyper):
    """Every call registers the same parameters, those of the forms for GPUs included, and returns
    as many logits as it should, of 5 classes.
    """
    network = models.create(name, num_classes=5, **hyper)
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        evaluation = network(nn.Variable((1, 3, size, size)))
    assert [logits.shape[1] for logits in evaluation] == [5]
    shapes = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
    for call in CALLS:
        nn.clear_parameters()
        with stand_ins.zero_parameters():
            logits = network(nn.Variable((2, 3, size, size)), **call)
        every = call.get('aux') or call.get('train')
        assert [y.shape[:2] for y in logits] == [(2, 5)] * (outputs if every else 1), call
        own = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
        assert own == shapes, call


def check_forms(name, height, width, **hyper):
    """The forms for GPUs, with channels last or not, compute the same numbers."""
    network = models.create(name, **hyper)
    x = _seeded_image(1, height, width)
    with stand_ins.zero_parameters():
        plain = network(x, aux=True)
    fused = network(x, aux=True, cuda=True)
    last = network(x, aux=True, cuda=True, channel_last=True)
    stand_ins.randomize_parameters()
    nn.forward_all([*plain, *fused])
    for expected, *forms in zip(plain, fused, last):
        tolerance = 1e-4 * expected.d.std()
        assert tolerance > 0
        assert forms[0].d == pytest.approx(expected.d, abs=tolerance)
        assert stand_ins.run_channel_last(forms[1]) == pytest.approx(expected.d, abs=tolerance)


def check_gradients(name, **hyper):
    """At the smallest size, a training step reaches every trainable parameter, and leaves running
    statistics that are numbers.
    """
    parameters, gradients = training_step(name, **hyper)
    assert [n for n, gradient in gradients.items() if not np.any(gradient)] == []
    assert [n for n, values in parameters.items() if not np.isfinite(values).all()] == []


def check_recomputation(name, **hyper):
    """Under no policy does recomputation change a bit of gradients or running statistics."""
    kept = training_step(name, **hyper)
    for policy in RECOMPUTE_POLICIES[1:]:
        recomputed = training_step(name, recompute=policy, **hyper)
        for before, after in zip(kept, recomputed):
            assert before.keys() == after.keys()
            changed = [n for n in before if not np.array_equal(before[n], after[n])]
            assert changed == [], (policy, len(changed), len(before))


def training_step(name, recompute='none', **hyper):
    """Parameters, running statistics among them, and gradients after one step on three images."""
    nn.clear_parameters()
    network = models.create(name, **hyper)
    size = network.info.smallest_size
    x = _seeded_image(3, size, size)
    with stand_ins.zero_parameters():
        outputs = network(x, train=True, dropout=False, recompute=recompute)
    stand_ins.randomize_parameters()
    loss = sum(L.mean_all(F.pow_scalar(logits, 2)) for logits in outputs)
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    parameters = {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}
    return parameters, {n: p.g.copy() for n, p in nn.get_parameters().items()}


def check_one_image_is_no_batch(name, size):
    """A mean over all pixels of one image has no variance: refused in a line, as PyTorch does."""
    network = models.create(name)
    x = nn.Variable((1, 3, size, size))
    with pytest.raises(models.ModelError, match=f'{name}, .*one value.*batch of at least 2'):
        network(x, train=True)
    network(x, train=True, freeze_statistics=True)


def _seeded_image(count, height, width):
    values = np.random.RandomState(3).randn(count, 3, height, width)
    return nn.Variable.from_numpy_array(values.astype(np.float32))
