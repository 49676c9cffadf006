"""Data of one training step: its batches, its result, and the values to roll back to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import nnabla as nn
import numpy as np

from datasets import Sample
from engine.training.training_graphs import TrainingGraph


class BatchSource(Protocol):
    """The interface of a loader for a trainer; see :class:`datasets.loading.loader.Loader`."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples of the latest batch."""

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images, float32 (N, 3, H, W), and labels, int32 (N, 1, H, W), -1 where ignored."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the data as plain values."""


@dataclass(frozen=True)
class StepInput:
    """The batches of a step.

    Attributes:
        batches: (images, labels), one pair for each backward pass.
        files: The image files of all batches.
        graphs: The training graph of each batch.
        seconds: Seconds spent on loading the batches.
    """

    batches: list[tuple[np.ndarray, np.ndarray]]
    files: list
    graphs: list[TrainingGraph]
    seconds: float


@dataclass
class StepSnapshot:
    """The values at the start of a step that the step changes before it updates the weights.

    Attributes:
        iteration: The number of finished iterations.
        position: The state of the loader.
        loss_scale: The state of the loss scale.
        statistics: The parameters that are not trained, concatenated on their device; None before
            the first forward pass.
    """

    iteration: int
    position: dict
    loss_scale: dict | None
    statistics: nn.NdArray | None = None


@dataclass(frozen=True)
class Step:
    """The result of a step.

    Attributes:
        loss: The loss over all processes, before the update.
        rate: The learning rate.
        data_seconds: Seconds spent on loading the batches.
        seconds: Seconds of the whole step.
        stop: Whether a process requested to stop.
        save: Whether a process requested to save the state.
        skipped: Whether the update was skipped since gradients overflowed in half precision.
        loss_scale: The loss scale of the next step.
    """

    loss: float
    rate: float
    data_seconds: float
    seconds: float
    stop: bool
    save: bool
    skipped: bool
    loss_scale: float
