"""Data of one training step: its batches, its result, and the values to roll back to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import nnabla as nn
import numpy as np

from datasets import Sample
from datasets.loading.batch_arrays import Targets as BatchTargets
from engine.training.training_graphs import TrainingGraph


class BatchSource(Protocol):
    """The interface of a loader for a trainer; see :class:`datasets.loading.loader.Loader`."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples of the latest batch."""

    def next(self) -> tuple[np.ndarray, BatchTargets]:
        """Return images, float32 (N, C, H, W), and their targets."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the data as plain values."""


@dataclass(frozen=True)
class StepInput:
    """The batches of a step.

    Attributes:
        batches: (images, targets), one pair for each backward pass.
        files: The image files of all batches.
        graphs: The training graph of each batch.
        seconds: Seconds spent on loading the batches.
    """

    batches: list[tuple[np.ndarray, BatchTargets]]
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
        task_losses: The loss of each task by name, before its scale; empty for one task.
        task_scales: The scale of each task in the next step, if they are learned.
    """

    loss: float
    rate: float
    data_seconds: float
    seconds: float
    stop: bool
    save: bool
    skipped: bool
    loss_scale: float
    task_losses: Mapping[str, float] = field(default_factory=dict)
    task_scales: Mapping[str, float] = field(default_factory=dict)

    @property
    def logged(self) -> tuple[float, float, float, float, Mapping[str, float], Mapping[str, float]]:
        """What the log records: loss, rate, seconds, and losses and scales of the tasks."""
        seconds = self.data_seconds, self.seconds
        return self.loss, self.rate, *seconds, self.task_losses, self.task_scales
