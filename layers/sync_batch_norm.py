"""Batch normalisation with batch statistics on the CPU, of one process or of all.

On the CPU NNabla sums in float32. The variance of a million values is then wrong by a thousandth.
The variance of a constant channel can be negative, which makes the output NaN. NNabla's
synchronized function is for GPUs only. The functions of this module sum in float64.

There are two functions. :class:`BatchStatistics` computes the statistics; its output is never
freed. So a recomputation calls only :class:`Normalization`: it neither updates the running
statistics nor communicates with other processes.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction
from numpy.typing import NDArray

from layers.build import Communicator

Variables: TypeAlias = list[nn.Variable]

BLOCK_VALUES = 1 << 16  # converted to float64 at a time, so that they stay in the CPU's cache
# Modules that do not exist. NNabla's compiled code searches for them at every array access, because
# it was compiled for implicit relative imports; one search takes 40 microseconds.
MISSING_MODULES = ('nnabla.nnabla', 'nnabla.nnabla_ext')
SYNCHRONIZED_PREFIX = 'Synchronized'  # start of the names of functions that use several processes


class _BatchFunction(PythonFunction, ABC):
    """The common base of :class:`BatchStatistics` and :class:`Normalization`.

    Args:
        communicator: Processes whose batches count as one; None: this process only.
        args: Arguments that NNabla shows for the function.
    """

    def __init__(self, communicator: Communicator | None, **args: float) -> None:
        super().__init__()
        self._communicator, self.args = communicator, args

    @property
    def name(self) -> str:
        """The name of the function in NNabla's graph."""
        prefix = SYNCHRONIZED_PREFIX if self._communicator is not None else ''
        return prefix + type(self).__name__

    def min_outputs(self) -> int:
        """Return the number of outputs."""
        return 1

    def grad_depends_output_data(self, i: int, o: int) -> bool:
        """Return whether a gradient needs the values of an output."""
        return False

    def forward_impl(self, inputs: Variables, outputs: Variables) -> None:
        """Compute the outputs."""
        with np.errstate(all='ignore'):  # the trainer detects values that are not finite
            self._forward(inputs, outputs)

    def backward_impl(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None:
        """Compute the gradients of the inputs."""
        with np.errstate(all='ignore'):
            self._backward(inputs, outputs, propagate_down, accum)

    @abstractmethod
    def _forward(self, inputs: Variables, outputs: Variables) -> None: ...

    @abstractmethod
    def _backward(
        self, inputs: Variables, outputs: Variables, propagate_down: list[bool], accum: list[bool]
    ) -> None: ...

    def _total(self, sums: NDArray[Any]) -> NDArray[Any]:
        return sums if self._communicator is None else self._communicator.total(sums)


class BatchStatistics(_BatchFunction):
    """Compute the statistics of a batch and update the running statistics.

    Inputs: x (N, C, H, W); running mean and variance, each (1, C, 1, 1). Output: (3, C) float64:
    the mean, 1 / sqrt(variance + eps), and the number of values per channel.

    Args:
        communicator: Processes whose batches count as one; None: this process only.
        decay_rate: Share of the running statistics that a step keeps. The running variance is the
            unbiased one.
        eps: Added to the variance.
    """

    def __init__(self, communicator: Communicator | None, decay_rate: float, eps: float) -> None:
        super().__init__(communicator, decay_rate=decay_rate, eps=eps)
        self._decay_rate, self._eps = decay_rate, eps

    def __call__(self, *inputs: nn.Variable) -> nn.Variable:
        """Return the statistics as a persistent variable without a gradient."""
        statistics = super().__call__(*inputs)
        return statistics.apply(need_grad=False, recompute=False, persistent=True)

    def grad_depends_input_data(self, i: int, j: int) -> bool:
        """Return whether a gradient needs the values of an input."""
        return False

    def setup_impl(self, inputs: Variables, outputs: Variables) -> None:
        """Set the shape of the output."""
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
        """Do nothing: :class:`Normalization` computes the gradient through the statistics."""


class Normalization(_BatchFunction):
    """Normalise a batch with its statistics, scale and shift.

    Inputs: x (N, C, H, W); the output of :class:`BatchStatistics`; beta and gamma, each (1, C, 1,
    1). The gradients of beta and gamma are this process's share; they are summed later, with all
    other gradients.
    """

    def grad_depends_input_data(self, i: int, j: int) -> bool:
        """Return whether a gradient needs the values of input ``j``."""
        return j in (0, 1, 3)

    def setup_impl(self, inputs: Variables, outputs: Variables) -> None:
        """Set the shape of the output."""
        outputs[0].reset_shape(inputs[0].shape, True)

    def _forward(self, inputs: Variables, outputs: Variables) -> None:
        x, y = _planes(inputs[0].data.data), _planes(outputs[0].data.data)
        mean, scale, _ = inputs[1].data.data
        beta, gamma = (v.data.data.reshape(-1).astype(np.float64) for v in inputs[2:])
        factor = gamma * scale
        near = mean.astype(np.float32)  # x - near is small and keeps all its digits
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
        own = np.zeros((2, x.shape[1]))  # sums of the gradient and of its product with x
        for n, block in _blocks(x.shape):
            values = gradient[n, block].astype(np.float64)
            own[0, block] += values.sum(1)
            own[1, block] += _products(values, x[n, block].astype(np.float64))
        own[1] = (own[1] - mean * own[0]) * scale  # product with the normalised x
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
    """Normalise ``x`` with the statistics of its batch, of this process or of all.

    Args:
        x: (N, C, H, W) input map.
        beta: (1, C, 1, 1) shift.
        gamma: (1, C, 1, 1) scale.
        mean: (1, C, 1, 1) running mean, without a gradient.
        variance: (1, C, 1, 1) running variance, without a gradient.
        communicator: Processes whose batches count as one; None: this process only.
        decay_rate: Share of the running statistics that a step keeps.
        eps: Added to the variance.
    """
    for name in MISSING_MODULES:
        # None ends the search at once; typeshed does not allow it in sys.modules.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    statistics = BatchStatistics(communicator, decay_rate, eps)(x, mean, variance)
    return Normalization(communicator)(x, statistics, beta, gamma)


def _planes(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array (N, C, H, W) as (N, C, H * W), sharing its memory."""
    return array.reshape(*array.shape[:2], -1)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Cut planes (N, C, H * W) into blocks of about ``BLOCK_VALUES`` values.

    A block is yielded as the index of its image and its range of channels.
    """
    count, channels, pixels = shape
    step = max(1, BLOCK_VALUES // pixels)
    for n in range(count):
        for start in range(0, channels, step):
            yield n, slice(start, start + step)


def _products(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the dot product of each row of ``a`` with the same row of ``b``."""
    products: NDArray[Any] = np.einsum('ij,ij->i', a, b)
    return products


def _column(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of channels (C,) as a float32 column (C, 1), to broadcast over planes."""
    return values.astype(np.float32)[:, None]
