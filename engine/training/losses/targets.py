"""Provide targets at the resolution of a head as inputs of the graph of its loss."""

from collections.abc import Callable

import nnabla as nn
import nnabla.functions as F
import numpy as np

LabelStatistic = Callable[[np.ndarray], float]  # argument: labels (N, 1, H, W), negative = ignored


class PixelTargets:
    """Targets at one resolution, and graph inputs that the host computes from them.

    Args:
        batch: Number of images N.
        size: (H, W) of the targets.

    Attributes:
        shape: (N, 1, H, W).
    """

    def __init__(self, batch: int, size: tuple[int, ...]):
        self.shape = (batch, 1, *size)
        self._inputs: list[tuple[nn.Variable, Callable[[np.ndarray], np.ndarray], type]] = []

    def add(
        self,
        shape: tuple[int, ...],
        compute: Callable[[np.ndarray], np.ndarray],
        dtype: type = np.float32,
    ) -> nn.Variable:
        """Return a Variable that holds ``compute(targets)``, for targets of this resolution."""
        variable = nn.Variable(shape, need_grad=False)
        self._inputs.append((variable, compute, dtype))
        return variable

    def at(self, targets: np.ndarray) -> np.ndarray:
        """Resize targets (N, 1, H, W) to this resolution by nearest neighbour.

        Takes the pixel under the centre of each new one, ``floor((i + 0.5) * scale)``, as Pillow's
        ``resize`` with ``NEAREST`` does.
        """
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for old, new in zip(targets.shape[2:], self.shape[2:])
        )
        return targets if targets.shape == self.shape else targets[:, :, rows[:, None], columns]

    def feed(self, targets: np.ndarray) -> None:
        """Set the inputs of the next forward pass from ``targets`` (N, 1, H, W) of any size."""
        targets = self.at(targets)
        for variable, compute, dtype in self._inputs:
            variable.d = compute(targets).astype(dtype)


class Targets(PixelTargets):
    """The labels of a class task at one resolution.

    Attributes:
        shape: (N, 1, H, W).
        labels: Variable of that shape, integers, negative where a pixel is ignored.
        valid: Variable of that shape, 1 where a pixel is not ignored, else 0.
    """

    def __init__(self, batch: int, size: tuple[int, ...]):
        super().__init__(batch, size)
        self.labels = self.add(self.shape, lambda labels: labels, np.int32)
        self.valid = F.greater_equal_scalar(self.labels, 0)
        self.valid.need_grad = False


class DepthTargets(PixelTargets):
    """The depths of a depth task at one resolution.

    Attributes:
        shape: (N, 1, H, W).
        metres: Variable of that shape, 0 where the depth is unknown.
        known: Variable of that shape, 1 where the depth is known, else 0.
    """

    def __init__(self, batch: int, size: tuple[int, ...]):
        super().__init__(batch, size)
        self.metres = self.add(self.shape, lambda metres: metres)
        self.known = self.add(self.shape, lambda metres: metres > 0)
