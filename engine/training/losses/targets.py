"""Provide labels at the resolution of a head as inputs of the graph of its loss."""

from collections.abc import Callable

import nnabla as nn
import nnabla.functions as F
import numpy as np

LabelStatistic = Callable[[np.ndarray], float]  # argument: labels (N, 1, H, W), negative = ignored


class Targets:
    """The labels at one resolution, and graph inputs that the host computes from them.

    Args:
        batch: Number of images N.
        size: (H, W) of the labels.

    Attributes:
        shape: (N, 1, H, W).
        labels: Variable of that shape, integers, negative where a pixel is ignored.
        valid: Variable of that shape, 1 where a pixel is not ignored, else 0.
    """

    def __init__(self, batch: int, size: tuple[int, ...]):
        self.shape = (batch, 1, *size)
        self._inputs: list[tuple[nn.Variable, Callable[[np.ndarray], np.ndarray]]] = []
        self.labels = self.add(self.shape, lambda labels: labels)
        self.valid = F.greater_equal_scalar(self.labels, 0)
        self.valid.need_grad = False

    def add(
        self, shape: tuple[int, ...], compute: Callable[[np.ndarray], np.ndarray]
    ) -> nn.Variable:
        """Return a Variable that holds ``compute(labels)``, for labels of this resolution."""
        self._inputs.append((nn.Variable(shape, need_grad=False), compute))
        return self._inputs[-1][0]

    def at(self, labels: np.ndarray) -> np.ndarray:
        """Resize labels (N, 1, H, W) to this resolution by nearest neighbour.

        Takes the pixel under the centre of each new one, ``floor((i + 0.5) * scale)``, as Pillow's
        ``resize`` with ``NEAREST`` does.
        """
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for old, new in zip(labels.shape[2:], self.shape[2:])
        )
        return labels if labels.shape == self.shape else labels[:, :, rows[:, None], columns]

    def feed(self, labels: np.ndarray) -> None:
        """Set the inputs of the next forward pass from ``labels`` (N, 1, H, W) of any size."""
        labels = self.at(labels)
        for variable, compute in self._inputs:
            values = compute(labels)
            variable.d = values.astype(np.int32 if variable is self.labels else np.float32)
