"""PyTorch's initial values of convolutions as NNabla initializers.

The numbers come from NNabla's own generator, so :func:`nnabla.random.set_seed` repeats them.
"""

import math
from typing import Any

import nnabla.initializer as I
from numpy.typing import NDArray


def kaiming_normal(shape: tuple[int, ...]) -> NDArray[Any]:
    """Draw weights as ``kaiming_normal_(mode='fan_out', nonlinearity='relu')``.

    The distribution is normal with variance 2 / (outputs * kernel**2).

    Args:
        shape: (outputs, inputs / groups, kernel, kernel).
    """
    outputs, _, *kernel = shape
    return I.NormalInitializer(math.sqrt(2 / (outputs * math.prod(kernel))))(shape)


def kaiming_normal_by_inputs(shape: tuple[int, ...]) -> NDArray[Any]:
    """Draw weights as ``kaiming_normal_`` with its defaults.

    The distribution is normal with variance 2 / (inputs / groups * kernel**2).

    Args:
        shape: (outputs, inputs / groups, kernel, kernel).
    """
    return I.NormalInitializer(math.sqrt(2 / math.prod(shape[1:])))(shape)


def default_uniform(inputs: int, kernel: int) -> I.UniformInitializer:
    """Return the initializer of weights and biases of PyTorch's ``Conv2d``.

    The distribution is uniform within +-1 / sqrt(inputs * kernel**2).

    Args:
        inputs: Number of input channels of one group.
        kernel: Kernel size.
    """
    limit = 1 / math.sqrt(inputs * kernel**2)
    return I.UniformInitializer((-limit, limit))
