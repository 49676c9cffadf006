"""Batch normalisation whose statistics are those of all processes, for the CPU.

NNabla has its own for GPUs, over NCCL; on the CPU its call ends the process.
"""

import numpy as np
from nnabla.function import PythonFunction

STATISTICS_AXES = (0, 2, 3)


class SynchronizedBatchNorm(PythonFunction):
    """Inputs: x (N, C, H, W); beta, gamma, running mean and variance, each (1, C, 1, 1).

    Sums over the processes are taken in float64, from as many pixels as each process has. Gradients
    of beta and gamma are the process's own share: they are summed with all other gradients.

    A recomputation calls ``forward_impl`` again before the backward pass; it takes the statistics
    that are known already, so that the running ones move once a step.

    The processes must come to their batch norms in the same order, which the caller checks: see
    :meth:`engine.gradients.Alone.require_same_order`.
    """

    def __init__(self, communicator, decay_rate: float, eps: float, ctx=None):
        super().__init__(ctx)
        self._communicator, self._decay_rate, self._eps = communicator, decay_rate, eps
        self._statistics = None  # until the backward pass: mean, 1 / deviation, pixels

    def __call__(self, x, beta, gamma, mean, variance):
        y = super().__call__(x, beta, gamma, mean, variance)
        self._has_backward = any(v.need_grad for v in (x, beta, gamma))
        return y if self._has_backward else y.apply(recompute=False)

    @property
    def name(self):
        return 'SynchronizedBatchNorm'

    def min_outputs(self):
        return 1

    def grad_depends_output_data(self, i, o):
        return False

    def grad_depends_input_data(self, i, j):
        return j in (0, 2)

    def setup_impl(self, inputs, outputs):
        outputs[0].reset_shape(inputs[0].shape, True)

    def forward_impl(self, inputs, outputs):
        x, beta, gamma, _, _ = (v.data.data for v in inputs)
        statistics = self._statistics or self._count(inputs)
        if self._has_backward:  # else they would be those of the first batch for ever
            self._statistics = statistics
        mean, scale, _ = statistics
        outputs[0].data.data[...] = (x - mean) * (scale * gamma) + beta

    def _count(self, inputs):
        x = inputs[0].data.data
        channels = x.shape[1]
        totals = self._communicator.total(
            np.concatenate(
                [
                    x.sum(STATISTICS_AXES, dtype=np.float64),
                    np.square(x, dtype=np.float64).sum(STATISTICS_AXES),
                    [x.size // channels],
                ]
            )
        )
        pixels = totals[-1]
        mean = totals[:channels] / pixels
        variance = np.maximum(totals[channels:-1] / pixels - mean * mean, 0)
        unbiased = variance * (pixels / (pixels - 1)) if pixels > 1 else variance
        for running, batch in zip(inputs[3:], (mean, unbiased)):
            values = running.data.data
            values *= self._decay_rate
            values += (1 - self._decay_rate) * _per_channel(batch)
        scale = 1 / np.sqrt(variance + self._eps)
        return _per_channel(mean), _per_channel(scale), pixels

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, gamma = inputs[0].data.data, inputs[2].data.data
        gradient = outputs[0].grad.data
        mean, scale, pixels = self._statistics
        self._statistics = None
        normalised = (x - mean) * scale
        own = np.stack(
            [
                gradient.sum(STATISTICS_AXES, dtype=np.float64),
                np.multiply(gradient, normalised, dtype=np.float64).sum(STATISTICS_AXES),
            ]
        )
        if propagate_down[0]:
            means = self._communicator.total(own) / pixels
            of_beta, of_gamma = map(_per_channel, means)
            of_x = gamma * scale * (gradient - of_beta - normalised * of_gamma)
            _give(inputs[0], of_x, accum[0])
        for i in (1, 2):
            if propagate_down[i]:
                _give(inputs[i], _per_channel(own[i - 1]), accum[i])


def _per_channel(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).reshape(1, -1, 1, 1)


def _give(variable, gradient, accumulate):
    if accumulate:
        variable.grad.data[...] += gradient
    else:
        variable.grad.data[...] = gradient
