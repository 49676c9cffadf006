"""Trainers of small networks on fixed batches, without a loader or other processes."""

import itertools
from types import SimpleNamespace

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from layers import functions as L
from models.family import Family
from models.registry import Network
from support import mpi_training, stand_ins

CONFIG = {'lr': 0.1, 'max_iter': 8, 'weight_decay': 0.01}


class RepeatingLoader:
    """A stand-in for the loader that repeats the same batches."""

    samples = [SimpleNamespace(image='first.png'), SimpleNamespace(image='second.png')]

    def __init__(self, *batches):
        self._batches, self.given = itertools.cycle(batches), 0

    def next(self):
        self.given += 1
        return next(self._batches)

    def state_dict(self):
        return {'given': self.given}


def make_trainer(network, config, loader, **options):
    """Create a trainer of a network with registered parameters, for one process."""
    processes = Processes()
    hyperparameters = mpi_training.hyperparameters_of({'batch_size': 2, **config}, 16, 1)
    return mpi_training.trainer_of(
        network,
        config,
        hyperparameters,
        loader,
        processes,
        SingleProcessCommunicator(processes),
        **options,
    )


def values():
    """Return copies of all parameters."""
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def two_heads(x, build):
    """Build a convolution, batch norm and dropout, and two heads, all at half the resolution."""
    x = L.convolution(x, 8, 3, 'conv1', build, stride=2)
    x = L.dropout(L.bn_relu(x, 'bn1', build), 0.3, build)
    return [L.convolution(x, 5, 3, name, build) for name in ('main', 'aux')]


def rooted(x, build):
    """Build a convolution and a square root at 0, whose value is finite but not its gradient."""
    y = L.convolution(x, 5, 3, 'conv', build)
    return [y + F.pow_scalar(y * 0, 0.5)]


def small_network(graph=two_heads):
    """Create a network with seeded parameters."""
    info = mpi_training.network('plain').info
    family = Family(name='small', graph=graph, variants={}, info=lambda hyper: info)
    network = Network('small', family, {}, info)
    network(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters()
    return network


def batches(count=4, size=2):
    """Return seeded images, and labels that depend on them, some of them ignored."""
    rng, made = np.random.RandomState(3), []
    for _ in range(count):
        images = rng.randn(size, 3, 24, 40).astype(np.float32)
        images[:, :, 8:16] += rng.randn(size, 3, 1, 1)
        labels = (np.abs(images.sum(axis=1, keepdims=True)) % 5).astype(np.int32)
        labels[:, :, : 1 + rng.randint(6)] = -1
        made.append((images, labels))
    return made


def trained(config, steps=3, **options):
    """Return all parameters after some steps."""
    nn.clear_parameters()
    trainer = make_trainer(
        small_network(), {**CONFIG, **config}, RepeatingLoader(*batches()), **options
    )
    for _ in range(steps):
        trainer.step()
    return values()


def assert_rolls_back(trainer, before):
    """Assert that a trainer whose step raised an error rolls back to the state ``before``.

    The state includes running statistics and the position in the data.
    """
    name = 'bn1/bn/mean'
    moved = nn.get_parameters(grad_only=False)[name].d
    assert not np.array_equal(moved, before['parameters'][name])
    assert trainer.ranks_in_sync
    assert trainer.roll_back()
    after = trainer.state()
    for part in ('parameters', 'solver'):
        assert all(np.array_equal(after[part][n], array) for n, array in before[part].items())
    for part in ('iteration', 'loader', 'loss_scale'):
        assert after[part] == before[part]
