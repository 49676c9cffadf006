"""Batch normalisation with the statistics of the batch, of one process or of all, for the CPU.

On the CPU NNabla sums in float32: the variance of a million values is off by a thousandth, and that
of a channel of equal values may be negative, which makes the output NaN. Its synchronized form is
for GPUs only. Here sums are taken in float64.

It is two functions. The first takes the statistics; its output is never freed, so that a
recomputation, which calls the second one again, neither moves the running statistics nor talks to
other processes.
"""

import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction
from numpy.typing import NDArray

from layers.build import Communicator

Variables: TypeAlias = list[nn.Variable]

BLOCK = 1 << 16  # values that are converted to float64 at a time: they stay in the CPU's cache
# Modules that do not exist. NNabla's compiled code looks for them at every access to an array, as
# it was compiled for implicit relative imports; a search takes 40 microseconds.
NEVER_THERE = ('nnabla.nnabla', 'nnabla.nnabla_ext')
OF_ALL_PROCESSES = 'Synchronized'  # begins the names of functions that talk to other processes


class _BatchFunction(PythonFunction):
    """communicator: of the processes whose batches count as one, or None; see
    :class:`layers.build.Build`.
    """

    def __init__(self, communicator: Communicator | None, **args: float) -> None:
        super().__init__()
        self._communicator, self.args = communicator, args

    @property
    def name(self) -> str:
        prefix = OF_ALL_PROCESSES if self._communicator is not None else ''
        return prefix + type(self).__name__

    def min_outputs(self) -> int:
        return 1

    def grad_depends_output_data(self, i: int, o: int) -> bool:
        return False

    def forward_impl(self, inputs: Variables, outputs: Variables) -> None:
        with np.errstate(all='ignore'):  # the trainer finds what is not finite
            self._forward(inputs, outputs)

    def backward_impl(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None:
        with np.errstate(all='ignore'):
            self._backward(inputs, outputs, propagate_down, accum)

    def _forward(self, inputs: Variables, outputs: Variables) -> None:
        raise NotImplementedError

    def _backward(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None:
        raise NotImplementedError

    def _total(self, sums: NDArray[Any]) -> NDArray[Any]:
        return sums if self._communicator is None else self._communicator.total(sums)


class BatchStatistics(_BatchFunction):
    """Take the statistics of a batch, and move the running ones towards them.

    Inputs: x (N, C, H, W); running mean and variance, each (1, C, 1, 1). Output: (3, C) float64,
    the mean, 1 / sqrt(variance + eps), and the number of values a channel.

    decay_rate: what the running statistics keep of their values; they take the unbiased variance.
    """

    def __init__(self, communicator: Communicator | None, decay_rate: float, eps: float) -> None:
        super().__init__(communicator, decay_rate=decay_rate, eps=eps)
        self._decay_rate, self._eps = decay_rate, eps

    def __call__(self, *inputs: nn.Variable) -> nn.Variable:
        statistics = super().__call__(*inputs)
        return statistics.apply(need_grad=False, recompute=False, persistent=True)

    def grad_depends_input_data(self, i: int, j: int) -> bool:
        return False

    def setup_impl(self, inputs: Variables, outputs: Variables) -> None:
        outputs[0].reset_shape((3, inputs[0].shape[1]), True)

    def _forward(self, inputs: Variables, outputs: Variables) -> None:
        x = _planes(inputs[0].data.data)
        channels = x.shape[1]
        sums = np.zeros((3, channels))
        for n, block in _blocks(x.shape):
            values = x[n, block].astype(np.float64)
            sums[0, block] += values.sum(1)
            sums[1, block] += _products(values, values)
        sums[2] = x.size // channels
        totals = self._total(sums)
        count = totals[2]
        mean = totals[0] / count
        variance = np.maximum(totals[1] / count - mean * mean, 0)
        unbiased = variance * count / np.maximum(count - 1, 1)
        for running, batch in zip(inputs[1:], (mean, unbiased)):
            values = running.data.data.reshape(-1)
            values[...] = self._decay_rate * values + (1 - self._decay_rate) * batch
        scale = 1 / np.sqrt(variance + self._eps)
        outputs[0].data.cast(np.float64)[...] = mean, scale, count

    def _backward(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None:
        """The gradient through the statistics is part of :class:`Normalization`'s."""


class Normalization(_BatchFunction):
    """Normalise a batch by its statistics, scale and shift.

    Inputs: x (N, C, H, W); the output of :class:`BatchStatistics`; beta and gamma, each
    (1, C, 1, 1). Gradients of beta and gamma are the process's own share: they are summed with all
    other gradients.
    """

    def grad_depends_input_data(self, i: int, j: int) -> bool:
        return j in (0, 1, 3)

    def setup_impl(self, inputs: Variables, outputs: Variables) -> None:
        outputs[0].reset_shape(inputs[0].shape, True)

    def _forward(self, inputs: Variables, outputs: Variables) -> None:
        x, y = _planes(inputs[0].data.data), _planes(outputs[0].data.data)
        mean, scale, _ = inputs[1].data.data
        beta, gamma = (v.data.data.reshape(-1).astype(np.float64) for v in inputs[2:])
        factor = gamma * scale
        near = mean.astype(np.float32)  # subtracting it leaves small numbers, with all their digits
        shift = _column(beta - factor * (mean - near))
        near, factor = _column(near), _column(factor)
        for n, block in _blocks(x.shape):
            values = np.subtract(x[n, block], near[block], out=y[n, block])
            values *= factor[block]
            values += shift[block]

    def _backward(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None:
        x, gradient = _planes(inputs[0].data.data), _planes(outputs[0].grad.data)
        mean, scale, count = inputs[1].data.data
        gamma = inputs[3].data.data.reshape(-1).astype(np.float64)
        own = np.zeros((2, x.shape[1]))  # sums of the gradient, and of its product with x
        for n, block in _blocks(x.shape):
            values = gradient[n, block].astype(np.float64)
            own[0, block] += values.sum(1)
            own[1, block] += _products(values, x[n, block].astype(np.float64))
        own[1] = (own[1] - mean * own[0]) * scale  # with the normalised x
        if propagate_down[0]:
            of_beta, of_gamma = self._total(own) / count
            factor = gamma * scale
            slope = factor * scale * of_gamma
            near = mean.astype(np.float32)
            shift = _column(factor * of_beta - slope * (mean - near))
            near, factor, slope = _column(near), _column(factor), _column(slope)
            result = _planes(inputs[0].grad.data)
            for n, block in _blocks(x.shape):
                values = (near[block] - x[n, block]) * slope[block]
                values += gradient[n, block] * factor[block]
                values -= shift[block]
                if accum[0]:
                    result[n, block] += values
                else:
                    result[n, block] = values
        for i, values in ((2, own[0]), (3, own[1])):
            if propagate_down[i]:
                of_parameter = inputs[i].grad.data.reshape(-1)
                of_parameter[...] = values + (of_parameter if accum[i] else 0)


def batch_norm(
    x: nn.Variable,
    beta: nn.Variable,
    gamma: nn.Variable,
    mean: nn.Variable,
    variance: nn.Variable,
    communicator: Communicator | None,
    decay_rate: float,
    eps: float,
) -> nn.Variable:
    """Normalise ``x`` (N, C, H, W) by the statistics of its batch, or of those of all processes.

    Args:
        x: Variable.
        beta, gamma: Variables (1, C, 1, 1).
        mean, variance: Running statistics, Variables (1, C, 1, 1) without gradients.
        communicator: Of the processes whose batches count as one; None for this process's alone.
        decay_rate: What a step keeps of the running statistics.
        eps: Added to the variance.
    """
    for name in NEVER_THERE:
        # Which ends the search at once; typeshed knows no None in sys.modules.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    statistics = BatchStatistics(communicator, decay_rate, eps)(x, mean, variance)
    return Normalization(communicator)(x, statistics, beta, gamma)


def _planes(array: NDArray[Any]) -> NDArray[Any]:
    """(N, C, H, W) as (N, C, H * W), the same memory."""
    return array.reshape(*array.shape[:2], -1)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Cut planes (N, C, H * W) into an image and a range of channels, about ``BLOCK`` values."""
    count, channels, pixels = shape
    step = max(1, BLOCK // pixels)
    for n in range(count):
        for start in range(0, channels, step):
            yield n, slice(start, start + step)


def _products(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The dot product of each row of ``a`` with that of ``b``."""
    products: NDArray[Any] = np.einsum('ij,ij->i', a, b)
    return products


def _column(values: NDArray[Any]) -> NDArray[Any]:
    """Float32 values of channels (C,) as (C, 1), beside planes."""
    return values.astype(np.float32)[:, None]
