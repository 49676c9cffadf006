"""The scenes of the lowest score over all tasks on one sheet, with a row for each task."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from datasets import Dataset
from engine.evaluation import score_keys, task_panels, task_per_image
from engine.evaluation.panels import Panel
from engine.evaluation.scenes import SceneResult
from engine.evaluation.task_panels import ShownTask
from engine.evaluation.worst_images import MAX_PANEL_SIDE, WorstImages
from engine.runs.validation_scores import MAIN_SCORES


class WorstScenes(WorstImages):
    """Small pictures of the worst scenes of a shard.

    Args:
        dataset: The split, with tasks.
        count: Number of scenes to keep.
        weights: The weight of the score of each task in that of a scene.
    """

    def __init__(self, dataset: Dataset, count: int, weights: Mapping[str, float]):
        super().__init__(dataset, count)
        self._weights = weights

    def _judge(self, result: SceneResult) -> tuple[float, str]:  # type: ignore[override]
        if result.counts is None:
            return math.nan, ''
        scores, words = {}, []
        for task in self._dataset.tasks:
            counts = task_per_image.kept_counts(task, result.counts[task.name])
            report = task_per_image.scores_of(task, counts)
            scores[task.name] = score_keys.task_score(task.kind, report)
            key, name = MAIN_SCORES[task.kind]
            known = report[key]
            words.append(f'{task.name} {name} ' + ('-' if known is None else f'{known:.2f}%'))
        score = score_keys.combined(scores, self._weights)
        return math.nan if score is None else score, ', '.join(words)

    def _show(self, result: SceneResult) -> list[ShownTask]:  # type: ignore[override]
        return task_panels.show(self._dataset, result, MAX_PANEL_SIDE)

    def _rows(self, shown: Sequence[ShownTask]) -> list[Sequence[Panel]]:  # type: ignore[override]
        return [each.shown.panels for each in shown]

    def _with_legend(  # type: ignore[override]
        self, sheet: np.ndarray, shown: Sequence[Sequence[ShownTask]]
    ) -> np.ndarray:
        every = [each for scene in shown for each in scene]
        return task_panels.with_legend(sheet, self._dataset.info, every)
