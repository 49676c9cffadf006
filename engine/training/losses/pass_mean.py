"""The mean over all known pixels of a backward pass, on all processes together."""

from collections.abc import Callable, Sequence
from typing import cast

import nnabla as nn
import numpy as np

from engine.training.losses.host_function import HostFunction, Variables

Total = Callable[[np.ndarray], np.ndarray]  # returns the sum of an array over all processes


def own_total(array: np.ndarray) -> np.ndarray:
    """Return the array itself: the total of a single process."""
    return array


def pass_mean(
    mean: nn.Variable, known: nn.Variable, pixels: int, total: Total
) -> tuple[nn.Variable, nn.Variable]:
    """Compute a mean over the known pixels of the micro-batches of all processes.

    A loss that is not a sum over pixels, such as a function of the mean error, has the value of the
    whole pass on every process. Each process multiplies it by its share of the known pixels, and
    gets the gradient of its own pixels. So losses and gradients, summed over the processes, are
    those of one process with all images. The host adds in float64.

    Args:
        mean: (1,) the mean over all pixels of this process, unknown ones being 0.
        known: (1,) the number of its known pixels.
        pixels: Number of all its pixels.
        total: Returns the sum of an array over all processes, which must call it in the same order.

    Returns:
        Each (1,): the mean over the known pixels of all processes, 0 without any; their number,
        without a gradient.
    """
    of_pass, count = cast(tuple[nn.Variable, nn.Variable], _PassMean(pixels, total)(mean, known))
    count.need_grad = False
    return of_pass, count


class _PassMean(HostFunction):
    """The function of :func:`pass_mean`."""

    number_of_outputs = 2

    def __init__(self, pixels: int, total: Total):
        super().__init__()
        self._pixels, self._total = pixels, total

    def forward_impl(self, inputs: Variables, outputs: Variables) -> None:
        mean, self._known = (float(each.d[0]) for each in inputs)
        total, known = self._total(np.array([mean * self._pixels, self._known]))
        outputs[0].d = np.full(1, total / max(known, 1), np.float32)
        outputs[1].d = np.full(1, known, np.float32)

    def backward_impl(
        self,
        inputs: Variables,
        outputs: Variables,
        propagate_down: Sequence[bool],
        accum: Sequence[bool],
    ) -> None:
        """Compute the gradient of the sum of all processes' losses.

        The gradient of the output holds this process's share of the known pixels as a factor; the
        sum over all processes does not.
        """
        if propagate_down[0]:
            gradient = outputs[0].g * (self._pixels / max(self._known, 1))
            inputs[0].g = inputs[0].g + gradient if accum[0] else gradient
