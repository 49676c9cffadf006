"""Predict all tasks of the scenes of a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets import Dataset
from engine.distributed.processes import Processes
from engine.evaluation import evaluator
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.task_evaluator import TaskEvaluator
from engine.inference.scene import Picture

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SceneResult:
    """The predictions of a sample of several tasks.

    Attributes:
        index: Index of the sample in the data set.
        image: (H, W, 3) uint8, BGR, the camera image.
        targets: (H, W) for each task: uint8 class indices, or float32 metres; None if nothing is
            scored.
        predictions: (H, W) for each task.
        counts: The counts of each task in this image, see
            :meth:`engine.evaluation.task_evaluator.TaskEvaluator.process`; None if nothing is
            scored.
    """

    index: int
    image: np.ndarray
    targets: Maps | None
    predictions: Maps
    counts: Maps | None

    def of_task(self, task: str) -> ImageResult:
        """Return the result of a task of kind classes as that of a network of one task."""
        targets, counts = self.targets or {}, self.counts or {}
        return ImageResult(
            self.index, self.image, targets.get(task), self.predictions[task], counts.get(task)
        )


def predict_shard(
    predict: Callable[[Picture], Maps],
    dataset: Dataset,
    processes: Processes,
    consumers: Sequence[Callable[[SceneResult], None]],
    counts: TaskEvaluator | None,
):
    """Predict and count this process's shard of a data set, and hand on the results.

    Args:
        predict: Function from an image, (H, W, 3) uint8, BGR, or the pictures of a scene, to the
            map of each task.
        dataset: Data set to predict.
        processes: Processes of the job.
        consumers: Functions that take the result of every sample.
        counts: Accumulates the counts; None to skip scoring.

    Raises:
        UserError: A sample cannot be read, or a file cannot be written.
    """

    def targets_of(index: int) -> Maps | None:
        if counts is None:
            return None
        return {task.name: dataset.target(index, task.name) for task in dataset.tasks}

    def finish(index: int, image: np.ndarray, targets: Maps | None, predictions: Maps) -> None:
        own = None if counts is None or targets is None else counts.process(targets, predictions)
        for consume in consumers:
            consume(SceneResult(index, image, targets, predictions, own))

    evaluator.run_shard(predict, dataset, processes, targets_of, finish)
