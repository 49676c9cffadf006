"""Define the input of a depth loss: a prediction in metres, its targets, and building blocks."""

from dataclasses import dataclass
from functools import cached_property

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.training.losses.head import MicroBatchLoss
from engine.training.losses.pass_mean import Total, pass_mean
from engine.training.losses.targets import DepthTargets
from layers import functions as L


@dataclass(frozen=True)
class DepthHead:
    """The prediction of a depth task at the resolution of the loss.

    All Variables are float32, and 0 where the depth is unknown unless it is said otherwise.

    Attributes:
        prediction: Variable (N, 1, h, w) in metres, also where the depth is unknown.
        targets: The depths at that resolution.
        total: Returns the sum of an array over all processes.
    """

    prediction: nn.Variable
    targets: DepthTargets
    total: Total

    @cached_property
    def error(self) -> nn.Variable:
        """Prediction minus target, (N, 1, h, w) in metres."""
        return (self.prediction - self.targets.metres) * self.targets.known

    @cached_property
    def mean_error(self) -> nn.Variable:
        """Mean error over all known pixels of the backward pass, on all processes; (1,)."""
        return self._of_pass[0]

    @cached_property
    def deviation(self) -> nn.Variable:
        """Error minus :attr:`mean_error`, (N, 1, h, w) in metres.

        The mean is a constant of the gradient: deviations sum to 0, so a sum of their squares does
        not change with it.
        """
        mean = F.reshape(F.identity(self.mean_error), (1, 1, 1, 1), inplace=False)
        mean.need_grad = False
        return (self.error - mean) * self.targets.known

    @cached_property
    def pass_pixels(self) -> nn.Variable:
        """Number of known pixels of the backward pass, on all processes; (1,)."""
        return self._of_pass[1]

    @cached_property
    def _of_pass(self) -> tuple[nn.Variable, nn.Variable]:
        own = self.targets.add((1,), lambda metres: np.full(1, count_known(metres)))
        return pass_mean(L.mean_all(self.error), own, self.error.size, self.total)

    def mean(self, values: nn.Variable) -> MicroBatchLoss:
        """Return the mean over the known pixels.

        Args:
            values: (N, 1, h, w), 0 where the depth is unknown.
        """
        return MicroBatchLoss(L.mean_all(values), count_known, np.size)

    def by_known_pixels(self, value: nn.Variable) -> MicroBatchLoss:
        """Return a loss whose weight is the micro-batch's share of all known pixels.

        Args:
            value: (1,), the loss of the micro-batch, or of the whole backward pass if it is a
                function of :attr:`mean_error`.
        """
        return MicroBatchLoss(value, count_known)


def count_known(metres: np.ndarray) -> int:
    """Return the number of pixels whose depth is known."""
    return np.count_nonzero(metres > 0)
