"""Compare a CPU training step with the project's batch norm and with NNabla's."""

from collections.abc import Mapping
from unittest import mock

import nnabla as nn
import nnabla.functions as F
import numpy as np

import models
from benchmarks import harness
from layers import functions as L
from layers import sync_batch_norm


def nnabla_batch_norm(x, beta, gamma, mean, variance, communicator, decay_rate, eps):
    """Call NNabla's batch norm; the arguments are those of layers.sync_batch_norm.batch_norm."""
    options = dict(axes=[1], decay_rate=decay_rate, eps=eps, batch_stat=True)
    return F.batch_normalization(x, beta, gamma, mean, variance, **options)


def measure_batch_norms(
    config: Mapping, size: tuple[int, int], batch_size: int, rounds: int
) -> tuple[list[harness.TimingResult], dict]:
    """Time the forward and the backward pass of the training graph with each batch norm on a CPU.

    Args:
        config: Config of the network.
        size: Height and width of the images.
        batch_size: Images per step.
        rounds: Timed steps with each batch norm.

    Returns:
        The results, NNabla's batch norm first, and no facts.
    """
    network = models.create(config)
    images = np.random.RandomState(0).standard_normal((batch_size, 3, *size))
    x = nn.Variable.from_numpy_array(images.astype(np.float32))

    def loss_with(batch_norm):
        with mock.patch.object(sync_batch_norm, 'batch_norm', batch_norm):
            outputs = network(x, train=True, cuda=False)
        return sum(L.mean_all(logits * logits) for logits in outputs)

    losses = {
        "NNabla's batch norm": loss_with(nnabla_batch_norm),
        "the project's": loss_with(sync_batch_norm.batch_norm),
    }

    def runner(loss):
        def step():
            for parameter in nn.get_parameters().values():
                parameter.grad.zero()
            loss.forward(clear_no_need_grad=True)
            loss.backward(clear_buffer=True)

        return step

    return harness.compare_in_turns(
        {name: runner(loss) for name, loss in losses.items()}, rounds
    ), {}
