"""Validate a network during training: the scores of evaluate.py, and a few pictures."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from datasets.keys import DataKeys
from datasets.label_scan import LabelScan
from engine.config import Config
from engine.config.data import data_root, open_dataset
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.evaluation import (
    evaluator,
    panels,
    scenes,
    target_checks,
    task_evaluator,
    task_panels,
)
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.provenance import Provenance
from engine.evaluation.scenes import SceneResult
from engine.evaluation.score_keys import ScoreKeys
from engine.evaluation.task_evaluator import TaskEvaluator
from engine.inference import test_time
from engine.inference.predictor import Predictor

MAX_PICTURES = 3


class Validation:
    """Scores the network in training on the config's validation split.

    All labels are checked on creation.

    Args:
        config: The effective config.
        predictor: The predictor of the network in training.
        release: Returns unused memory to the system.
        processes: All processes of the job.
        precision: Numbers that the network computes in.
        training: What the labels of the training split show by task, to compare with.

    Attributes:
        dataset: The validation split.
        scans: What the labels of each task of kind classes show; those of a network of one task
            have the name of the data set's task.

    Raises:
        UserError: A file or a label of the split is missing or invalid.
    """

    def __init__(
        self,
        config: Config,
        predictor: Predictor,
        release: Callable[[], None],
        processes: Processes,
        precision: str = 'float32',
        training: Mapping[str, LabelScan] | None = None,
    ):
        self._root, self._precision = data_root(config), precision
        self._keys = ScoreKeys.of(config)
        self.dataset = open_dataset(config, DataKeys.of(config).val_split)
        self.dataset.log_counts()
        self._protocol = test_time.configured_protocol(config)
        self._predictor, self._release = predictor, release
        self.scans = target_checks.check_targets(self.dataset, processes, training)

    def origin(self, weights: str) -> Provenance:
        """Return what the scores are computed from; ``weights`` are words for the parameters."""
        return Provenance(
            weights=weights,
            sha256=None,
            dataset=self.dataset.info.name,
            data_dir=self._root,
            split=self.dataset.split,
            protocol=self._protocol,
            backend=', '.join(sorted(self._predictor.backend.used)),
            precision=self._precision,
        )

    def run(self, processes: Processes, watchdog: Watchdog) -> tuple[dict, Mapping]:
        """Score the registered parameters; all processes share the images.

        Args:
            processes: All processes of the job.
            watchdog: Receives a report of progress for each image.

        Returns:
            The report of :class:`engine.evaluation.evaluator.Evaluator`, and pictures of this
            process's first images by name.
        """
        pictures: dict[str, np.ndarray] = {}
        info = self.dataset.info

        def look(result: ImageResult | SceneResult) -> None:
            watchdog.note_progress(f'image {result.index} of the validation')
            if len(pictures) < MAX_PICTURES:
                pictures[self.dataset[result.index].name] = (
                    task_panels.picture(self.dataset, result)
                    if isinstance(result, SceneResult)
                    else panels.picture(info, result)
                )

        self._release()  # validation cannot reuse the arrays of training
        counts = task_evaluator.accumulator_of(self.dataset, self._keys)
        if isinstance(counts, TaskEvaluator):
            maps = partial(self._predictor.task_maps, protocol=self._protocol)
            scenes.predict_shard(maps, self.dataset, processes, [look], counts)
        else:
            labels = partial(self._predictor.labels, protocol=self._protocol)
            evaluator.predict_shard(labels, self.dataset, processes, [look], counts)
        counts.add_up(processes)
        self._release()
        return counts.report(info), pictures
