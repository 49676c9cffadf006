"""Check networks without their reference fixtures."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from layers import functions as L
from layers.build import RECOMPUTE_POLICIES
from support import stand_ins

BUILD_OPTIONS = (
    {'aux': True},
    {'train': True},
    {'train': True, 'freeze_statistics': True},
    {'cuda': True},
    {'cuda': True, 'train': True, 'recompute': 'blocks'},
    {'cuda': True, 'channel_last': True},
    {'cuda': True, 'channel_last': True, 'train': True},
)


def check_input_sizes(name, smallest, divisor):
    """Check that the smallest size runs, and that errors about other sizes name the legal ones."""
    network = models.create(name)
    assert (network.info.smallest_size, network.info.size_divisor) == (smallest, divisor)
    with stand_ins.zero_parameters():
        logits = network(_seeded_images(1, smallest, smallest))[0]
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


def check_build_options(name, outputs, **hyper):
    """Check that every build registers the same parameters and returns the right logits.

    Args:
        name: Name of the network.
        outputs: Number of heads, including the auxiliary ones.
        **hyper: Hyper-parameters, apart from num_classes, which is 5 unless there are ``tasks``.
    """
    network = models.create(name, **{} if 'tasks' in hyper else {'num_classes': 5}, **hyper)
    size, channels = network.info.smallest_size, 3 * network.info.inputs
    of_tasks = [task.channels for task in network.info.tasks]
    with stand_ins.zero_parameters():
        evaluation = network(nn.Variable((1, channels, size, size)))
    assert [logits.shape[1] for logits in evaluation] == of_tasks
    expected = _registered_shapes()
    for options in BUILD_OPTIONS:
        nn.clear_parameters()
        with stand_ins.zero_parameters():
            logits = network(nn.Variable((2, channels, size, size)), **options)
        with_auxiliary = options.get('aux') or options.get('train')
        expected_channels = of_tasks + [5] * ((outputs - len(of_tasks)) if with_auxiliary else 0)
        assert [y.shape[:2] for y in logits] == [(2, count) for count in expected_channels], options
        assert _registered_shapes() == expected, options


def check_gpu_graphs(name, height, width, **hyper):
    """Check that the graphs for GPUs, in both layouts, compute the same as the CPU's graph."""
    network = models.create(name, **hyper)
    x = _seeded_images(1, height, width, network.info.inputs)
    with stand_ins.zero_parameters():
        plain = network(x, aux=True)
    fused = network(x, aux=True, cuda=True)
    channel_last = network(x, aux=True, cuda=True, channel_last=True)
    stand_ins.randomize_parameters()
    nn.forward_all([*plain, *fused])
    for expected, found, found_last in zip(plain, fused, channel_last):
        tolerance = 1e-4 * expected.d.std()
        assert tolerance > 0
        assert found.d == pytest.approx(expected.d, abs=tolerance)
        assert stand_ins.run_channel_last(found_last) == pytest.approx(expected.d, abs=tolerance)


def check_gradients(name, **hyper):
    """Check that a training step at the smallest size gives every parameter a gradient.

    Running statistics must be finite after the step.
    """
    network = models.create(name, **hyper)
    check_step(*training_step(network, random_parameters(network)))


def check_step(parameters, gradients):
    """Check that every gradient has a value other than 0 and every parameter is finite."""
    assert [n for n, gradient in gradients.items() if not np.any(gradient)] == []
    assert [n for n, values in parameters.items() if not np.isfinite(values).all()] == []


def check_recomputation(name, **hyper):
    """Check that no recompute policy changes a bit of gradients or running statistics.

    Returns:
        Parameters and gradients after the step without recomputation, by name.
    """
    network = models.create(name, **hyper)
    initial = random_parameters(network)
    kept = training_step(network, initial)
    for policy in RECOMPUTE_POLICIES[1:]:
        recomputed = training_step(network, initial, recompute=policy)
        for before, after in zip(kept, recomputed):
            assert before.keys() == after.keys()
            changed = [n for n in before if not np.array_equal(before[n], after[n])]
            assert changed == [], (policy, len(changed), len(before))
    return kept


def random_parameters(network):
    """Return seeded values for all parameters of a network, by name."""
    nn.clear_parameters()
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3 * network.info.inputs, size, size)))
    stand_ins.randomize_parameters()
    return _registered_values()


def training_step(network, initial, recompute='none', dropout=False):
    """Train on three images of the smallest size.

    Args:
        network: The network.
        initial: Values of all parameters, by name.
        recompute: Recompute policy.
        dropout: Whether dropout layers drop maps.

    Returns:
        All parameters, including running statistics, and the gradients after the step, by name.
    """
    nn.clear_parameters()
    size = network.info.smallest_size
    x = _seeded_images(3, size, size, network.info.inputs)
    with stand_ins.zero_parameters():
        outputs = network(x, train=True, dropout=dropout, recompute=recompute)
    for name, parameter in nn.get_parameters(grad_only=False).items():
        parameter.d = initial[name]
    loss = sum(L.mean_all(F.pow_scalar(logits, 2)) for logits in outputs)
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    return _registered_values(), {n: p.g.copy() for n, p in nn.get_parameters().items()}


def check_single_image_is_refused(name, size):
    """Check that a batch of one image is refused if the network pools a map to one pixel.

    A channel of one value has no variance. PyTorch refuses such a batch too. A training with frozen
    statistics accepts it.
    """
    network = models.create(name)
    x = nn.Variable((1, 3, size, size))
    with stand_ins.zero_parameters():
        with pytest.raises(models.ModelError, match=f'{name}, .*one value.*batch of at least 2'):
            network(x, train=True)
        network(x, train=True, freeze_statistics=True)


def _registered_shapes():
    return {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}


def _registered_values():
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def _seeded_images(count, height, width, inputs=1):
    values = np.random.RandomState(3).randn(count, 3 * inputs, height, width)
    return nn.Variable.from_numpy_array(values.astype(np.float32))
