"""PyTorch's initial values of convolutions, as initializers of NNabla's.

The numbers are drawn from NNabla's own generator, so :func:`nnabla.random.set_seed` repeats them.
"""

import math
from typing import Any

import nnabla.initializer as I
from numpy.typing import NDArray


def kaiming_normal(shape: tuple[int, ...]) -> NDArray[Any]:
    """Weights (outputs, inputs / groups, kernel, kernel) of ``kaiming_normal_(mode='fan_out',
    nonlinearity='relu')``: a normal distribution, the variance is 2 / (outputs * kernel**2).
    """
    outputs, _, *kernel = shape
    return I.NormalInitializer(math.sqrt(2 / (outputs * math.prod(kernel))))(shape)


def kaiming_normal_by_inputs(shape: tuple[int, ...]) -> NDArray[Any]:
    """Weights of ``kaiming_normal_`` with its defaults: the variance is 2 / (inputs / groups *
    kernel**2).
    """
    return I.NormalInitializer(math.sqrt(2 / math.prod(shape[1:])))(shape)


def default_uniform(inputs: int, kernel: int) -> I.UniformInitializer:
    """Weights and biases of a ``Conv2d`` that nobody initialises: uniform up to
    1 / sqrt(inputs * kernel**2) on both sides of 0; ``inputs`` are those of one group.
    """
    limit = 1 / math.sqrt(inputs * kernel**2)
    return I.UniformInitializer((-limit, limit))
