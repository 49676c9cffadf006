"""The numbers of the iterations since the last line of the log, and their means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IntervalMeans:
    """Means over an interval.

    Attributes:
        loss: Training loss.
        rate: Learning rate.
        data_seconds: Seconds of an iteration spent waiting for data.
        step_seconds: Seconds of an iteration.
        task_losses: The loss of each task by name; empty for one task.
        task_scales: The scale of each task after the last iteration, if they are learned.
    """

    loss: float
    rate: float
    data_seconds: float
    step_seconds: float
    task_losses: Mapping[str, float]
    task_scales: Mapping[str, float]

    def words(self) -> str:
        """Return the losses of the tasks, and their scales, as text; '' for one task."""
        if not self.task_losses:
            return ''
        parts = [f'{name} {loss:.5g}' for name, loss in self.task_losses.items()]
        text = ', '.join(parts)
        if self.task_scales:
            text += '; scales ' + ', '.join(f'{scale:.5g}' for scale in self.task_scales.values())
        return f' ({text})'


class Interval:
    """The iterations of an interval.

    Args:
        tasks: Names of the tasks; () for a network of one.
        steps: Numbers of earlier iterations of the interval, as :attr:`steps`.
        task_losses: Losses of tasks of these iterations, as :attr:`task_losses`.

    Attributes:
        steps: (loss, learning rate, seconds of waiting for data, seconds) of each iteration.
        task_losses: The losses of all tasks of each iteration.
    """

    def __init__(
        self,
        tasks: Sequence[str] = (),
        steps: Sequence[Sequence[float]] = (),
        task_losses: Sequence[Sequence[float]] = (),
    ):
        self._tasks, self._scales = tuple(tasks), dict[str, float]()
        self.steps = [tuple(step) for step in steps]
        # Losses of other tasks, before a change of the config, have no place here.
        self.task_losses = [tuple(row) for row in task_losses if len(row) == len(tasks)]

    def add(
        self,
        numbers: tuple[float, float, float, float],
        task_losses: Mapping[str, float],
        task_scales: Mapping[str, float],
    ) -> None:
        """Add an iteration.

        Args:
            numbers: See :attr:`steps`.
            task_losses: The loss of each task by name.
            task_scales: The scale of each task by name, if they are learned.
        """
        self.steps.append(numbers)
        self._scales = dict(task_scales)
        if self._tasks:
            self.task_losses.append(tuple(task_losses[name] for name in self._tasks))

    def take_means(self) -> IntervalMeans:
        """Return the means, and begin a new interval."""
        loss, rate, data, step = np.mean(self.steps, axis=0, dtype=np.float64).tolist()
        losses = np.mean(self.task_losses, axis=0, dtype=np.float64).tolist() if self._tasks else []
        self.steps, self.task_losses = [], []
        of_tasks = dict(zip(self._tasks, losses))
        return IntervalMeans(loss, rate, data, step, of_tasks, self._scales)
