"""Forward and backward pass of a training graph with the project's batch norm and with NNabla's."""

from collections.abc import Mapping
from unittest import mock

import nnabla as nn
import nnabla.functions as F
import numpy as np

import models
from benchmarks import frame
from layers import functions as L
from layers import sync_batch_norm


def nnablas_batch_norm(x, beta, gamma, mean, variance, communicator, decay_rate, eps):
    """NNabla's own, with the arguments of :func:`layers.sync_batch_norm.batch_norm`."""
    options = dict(axes=[1], decay_rate=decay_rate, eps=eps, batch_stat=True)
    return F.batch_normalization(x, beta, gamma, mean, variance, **options)


def measure(
    config: Mapping, size: tuple[int, int], batch_size: int, rounds: int
) -> tuple[list[frame.Result], dict]:
    """Compare the times on a CPU.

    Args:
        config: Of the network.
        size: Height and width of the images.
        batch_size: Images a step.
        rounds: Timed steps of each.
    """
    network = models.create(config)
    images = np.random.RandomState(0).standard_normal((batch_size, 3, *size))
    x = nn.Variable.from_numpy_array(images.astype(np.float32))

    def loss_with(batch_norm):
        with mock.patch.object(sync_batch_norm, 'batch_norm', batch_norm):
            outputs = network(x, train=True, cuda=False)
        return sum(L.mean_all(logits * logits) for logits in outputs)

    losses = {
        "NNabla's batch norm": loss_with(nnablas_batch_norm),
        "the project's": loss_with(sync_batch_norm.batch_norm),
    }

    def runner(loss):
        def step():
            for parameter in nn.get_parameters().values():
                parameter.grad.zero()
            loss.forward(clear_no_need_grad=True)
            loss.backward(clear_buffer=True)

        return step

    return frame.compare({name: runner(loss) for name, loss in losses.items()}, rounds), {}
