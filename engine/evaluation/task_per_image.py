"""Scores of all tasks in every image, the worst image first, as a CSV file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.tasks import CLASSES, Task
from datasets import Dataset
from engine.distributed.processes import Processes
from engine.evaluation import depth_metrics, metrics, per_image, score_keys
from engine.evaluation.evaluator import percent
from engine.evaluation.per_image import FILE, NAME
from engine.evaluation.scenes import SceneResult
from engine.evaluation.task_evaluator import report_of
from engine.runs.validation_scores import DEPTH_SCORES

SCORE = 'score'
CLASS_COLUMNS = ('miou', 'mean_f1', 'mean_precision', 'mean_accuracy', 'pixel_accuracy', 'pixels')
DEPTH_COLUMNS = (*DEPTH_SCORES, 'pixels')


class TaskImageScores:
    """Counts of every image of a shard; those of all shards make a table.

    A consumer of results, see :func:`engine.evaluation.scenes.predict_shard`.

    Args:
        tasks: The tasks.
        weights: The weight of the score of each task in that of an image.
    """

    def __init__(self, tasks: Sequence[Task], weights: Mapping[str, float]):
        self._tasks, self._weights = tasks, weights
        self._counts: dict[int, dict[str, np.ndarray]] = {}

    def __call__(self, result: SceneResult) -> None:
        """Count an image."""
        if result.counts is not None:
            self._counts[result.index] = {
                task.name: kept_counts(task, result.counts[task.name]) for task in self._tasks
            }

    def add_up(self, processes: Processes) -> None:
        """Take over the images of all processes."""
        shards = processes.gather(self._counts)
        self._counts = {index: counts for shard in shards for index, counts in shard.items()}

    def write(self, path: Path, dataset: Dataset) -> None:
        """Write the table: the image of the lowest score first, images without scores last.

        Raises:
            UserError: The file cannot be written.
        """
        rows = []
        for index, counts in self._counts.items():
            cells = {task.name: scores_of(task, counts[task.name]) for task in self._tasks}
            of_tasks = {
                task.name: score_keys.task_score(task.kind, cells[task.name])
                for task in self._tasks
            }
            score = score_keys.combined(of_tasks, self._weights)
            rows.append((per_image.order(_or_nan(score), index), score, cells, counts))
        rows.sort(key=lambda row: row[0])
        lines = [
            _row(self._tasks, dataset, place[-1], score, cells, counts)
            for place, score, cells, counts in rows
        ]
        per_image.write_table(path, [_titles(self._tasks, dataset), *lines])


def kept_counts(task: Task, counts: np.ndarray) -> np.ndarray:
    """Return what :func:`scores_of` needs of the counts of a task in an image."""
    return metrics.class_counts(counts) if task.kind == CLASSES else counts


def scores_of(task: Task, counts: np.ndarray) -> dict[str, float | None]:
    """Return the scores of a task in an image by column, from its :func:`kept_counts`."""
    if task.kind == CLASSES:
        found = metrics.scores_of_counts(counts)
        means = {name: percent(getattr(found, name)) for name in CLASS_COLUMNS[:-1]}
        return {**means, 'pixels': int(counts[1].sum())}
    scores = depth_metrics.scores(counts)
    return {**report_of(scores), 'pixels': scores.pixels}


def _titles(tasks: Sequence[Task], dataset: Dataset) -> list[str]:
    columns = [f'{task.name} {column}' for task in tasks for column in _columns(task)]
    classes = [
        f'{task.name} {title}'
        for task in tasks
        if task.kind == CLASSES
        for title in per_image.class_titles(dataset.info.of_task(task.name))
    ]
    return [NAME, SCORE, *columns, FILE, *classes]


def _row(
    tasks: Sequence[Task],
    dataset: Dataset,
    index: int,
    score: float | None,
    cells: Mapping[str, Mapping[str, float | None]],
    counts: Mapping[str, np.ndarray],
) -> list[str | int]:
    sample = dataset[index]
    values = [_cell(cells[task.name][column]) for task in tasks for column in _columns(task)]
    classes = [
        per_image.percent_cell(iou)
        for task in tasks
        if task.kind == CLASSES
        for iou in metrics.scores_of_counts(counts[task.name]).iou
    ]
    name, image = (per_image.path_cell(text) for text in (sample.name, str(sample.image)))
    return [name, _cell(score), *values, image, *classes]


def _columns(task: Task) -> Sequence[str]:
    return CLASS_COLUMNS if task.kind == CLASSES else DEPTH_COLUMNS


def _cell(value: float | None) -> str | int:
    """Return a score; empty if it is undefined."""
    return value if isinstance(value, int) else '' if value is None else f'{value:.4f}'


def _or_nan(value: float | None) -> float:
    return float('nan') if value is None else value
