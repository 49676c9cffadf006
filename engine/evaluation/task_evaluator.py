"""Count the predictions of several tasks, with an accumulator for each.

counts = TaskEvaluator(tasks, keys)
counts.process(targets, predictions)        # of an image: arrays by task
counts.add_up(processes)
counts.report(info)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from common.tasks import CLASSES, Task
from datasets import Dataset, DatasetInfo
from engine.distributed.processes import Processes
from engine.evaluation import depth_metrics, score_keys
from engine.evaluation.depth_metrics import DepthScores
from engine.evaluation.evaluator import Evaluator, percent
from engine.evaluation.score_keys import ScoreKeys
from engine.runs.validation_scores import DEPTH_SCORES


class Accumulator(Protocol):
    """Counts of one task over a data set."""

    def process(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Count one image, and return its own counts."""

    def add_up(self, processes: Processes) -> None:
        """Replace the counts by their sums over all processes."""

    def report(self, info: DatasetInfo) -> dict[str, Any]:
        """Return the scores, ready for JSON; ``info`` has the names of the task's classes."""


class DepthEvaluator:
    """Sums over the depths of a data set; neither order nor sharding of the images changes them.

    Args:
        limits: Depths in metres that count, see :func:`engine.evaluation.depth_metrics.image_sums`.
    """

    def __init__(self, limits: tuple[float, float] | None = None):
        self._limits = limits
        self._rows: list[np.ndarray] = []

    def process(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Count one image.

        Args:
            target: (H, W) float32 metres, 0 where the depth is unknown.
            prediction: (H, W) float32 metres.

        Returns:
            The sums of this image.
        """
        self._rows.append(depth_metrics.image_sums(target, prediction, self._limits))
        return self._rows[-1]

    def add_up(self, processes: Processes) -> None:
        """Take over the images of all processes."""
        self._rows = [row for shard in processes.gather(self._rows) for row in shard]

    def report(self, info: DatasetInfo) -> dict[str, Any]:
        """Return the scores, ready for JSON; scores without pixels are null.

        ``ard`` and the deltas are in percent, ``squared_relative`` and ``rmse`` in metres.
        ``image_means`` has the same scores, computed for each image and averaged over the images
        with a pixel that counts, as the depth literature reports them.
        """
        found = depth_metrics.scores(depth_metrics.total(self._rows))
        single = [report_of(depth_metrics.scores(row)) for row in self._rows if row[0]]
        means = {name: _mean([each[name] for each in single]) for name in report_of(found)}
        return {
            **report_of(found),
            'pixels': found.pixels,
            'range': None if self._limits is None else list(self._limits),
            'image_means': means,
        }


def report_of(scores: DepthScores) -> dict[str, float | None]:
    """Return the scores of depths by name, as a report has them."""
    values = (
        percent(scores.ard),
        _known(scores.squared_relative),
        _known(scores.rmse),
        _known(scores.rmse_log),
        *map(percent, scores.deltas),
    )
    return dict(zip(DEPTH_SCORES, values, strict=True))


class TaskEvaluator:
    """Counts of several tasks over a data set.

    Args:
        tasks: The tasks.
        keys: The keys of the scores.
        boundary: Whether to count boundary regions of class tasks.

    Raises:
        SectionError: The keys do not fit the tasks.
    """

    def __init__(self, tasks: Sequence[Task], keys: ScoreKeys, boundary: bool = False):
        self._tasks, self._weights = tuple(tasks), keys.weights_of(tasks)
        self._images = np.zeros(1, np.int64)
        self._parts: dict[str, Accumulator] = {
            task.name: Evaluator(task.channels, boundary)
            if task.kind == CLASSES
            else DepthEvaluator(keys.test_depth_range)
            for task in tasks
        }

    def process(
        self, targets: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Count one image.

        Args:
            targets: (H, W) for each task: uint8 class indices, or float32 metres.
            predictions: (H, W) for each task, at the same size.

        Returns:
            The counts of this image: a confusion matrix, or sums, for each task.
        """
        self._images += 1
        parts = self._parts.items()
        return {name: part.process(targets[name], predictions[name]) for name, part in parts}

    def add_up(self, processes: Processes) -> None:
        """Replace the counts by their sums over all processes."""
        self._images = processes.total(self._images)
        for part in self._parts.values():
            part.add_up(processes)

    def report(self, info: DatasetInfo) -> dict[str, Any]:
        """Return the scores of each task, and the score that decides which weights are the best.

        Args:
            info: Facts of the data set, with the names of the classes of each task.
        """
        tasks: dict[str, dict[str, Any]] = {}
        for task in self._tasks:
            own = info.of_task(task.name) if task.kind == CLASSES else info
            report = self._parts[task.name].report(own)
            report.pop('images', None)
            tasks[task.name] = {'kind': task.kind, **report}
        scores = {t.name: score_keys.task_score(t.kind, tasks[t.name]) for t in self._tasks}
        return {
            'tasks': tasks,
            'score': score_keys.combined(scores, self._weights),
            'score_weights': self._weights,
            'images': int(self._images[0]),
        }


def accumulator_of(
    dataset: Dataset, keys: ScoreKeys, boundary: bool = False
) -> Evaluator | TaskEvaluator:
    """Return the accumulator of a split: of its tasks, or of its labels alone."""
    if dataset.tasks:
        return TaskEvaluator(dataset.tasks, keys, boundary)
    return Evaluator(len(dataset.info.classes), boundary)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
