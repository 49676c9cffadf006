"""Count predictions of a whole split in a confusion matrix, and compute scores from it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from common.class_maps import check_num_classes
from common.log import LOG
from common.process_map import MANY_FILES
from common.terminal.progress import ProgressBar
from datasets import Dataset, DatasetInfo, label_scan
from datasets.label_scan import LabelScan
from engine.distributed.processes import Processes
from engine.evaluation import metrics
from engine.inference.prefetch import run_pipeline
from engine.inference.scene import Picture, Scene, scene_of


@dataclass(frozen=True)
class ImageResult:
    """The prediction of a sample.

    Attributes:
        index: Index of the sample in the data set.
        image: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8; None if nothing is scored.
        predictions: (H, W) uint8.
        matrix: (num_classes, num_classes) int64, the confusion matrix of this image; None if
            nothing is scored.
    """

    index: int
    image: np.ndarray
    labels: np.ndarray | None
    predictions: np.ndarray
    matrix: np.ndarray | None


Consumer = Callable[[ImageResult], None]


class Evaluator:
    """Counts over a data set; neither the order nor the sharding of the images changes them.

    Args:
        num_classes: Number of classes.
        boundary: Whether to count boundary regions for boundary IoU.

    Attributes:
        matrix: (num_classes, num_classes) int64, the confusion matrix.
        boundary: (num_classes, 2) int64, intersection and union of boundary regions.
        images: (1,) int64, the number of images.

    Raises:
        SectionError: Class maps cannot hold so many classes.
    """

    def __init__(self, num_classes: int, boundary: bool = False):
        check_num_classes(num_classes)
        self.num_classes, self._with_boundary = num_classes, boundary
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.boundary = np.zeros((num_classes, 2), np.int64)
        self.images = np.zeros(1, np.int64)

    def process(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """Count one image.

        Args:
            labels: (H, W) uint8, at the labels' original size.
            predictions: (H, W) uint8, at the same size.

        Returns:
            The confusion matrix of this image.
        """
        matrix = metrics.confusion_matrix(labels, predictions, self.num_classes)
        self.matrix += matrix
        if self._with_boundary:
            self.boundary += metrics.boundary_counts(labels, predictions, self.num_classes)
        self.images += 1
        return matrix

    def add_up(self, processes: Processes) -> None:
        """Replace the counts by their sums over all processes."""
        self.matrix = processes.total(self.matrix)
        self.boundary = processes.total(self.boundary)
        self.images = processes.total(self.images)

    def report(self, info: DatasetInfo) -> dict[str, Any]:
        """Return the scores in percent, ready for JSON; scores without pixels are null.

        Args:
            info: Facts of the data set, with the names of classes and categories.
        """
        result = metrics.scores(self.matrix)
        classes: dict[str, dict[str, float | None]] = {
            name: {
                'iou': percent(iou),
                'accuracy': percent(accuracy),
                'share': percent(share),
                'precision': percent(precision),
                'f1': percent(f1),
            }
            for name, iou, accuracy, share, precision, f1 in zip(
                info.classes,
                result.iou,
                result.accuracy,
                result.share,
                result.precision,
                result.f1,
            )
        }
        report: dict[str, Any] = {
            'miou': percent(result.miou),
            'mean_accuracy': percent(result.mean_accuracy),
            'mean_precision': percent(result.mean_precision),
            'mean_f1': percent(result.mean_f1),
            'pixel_accuracy': percent(result.pixel_accuracy),
            'fwiou': percent(result.fwiou),
            'overall': percent(result.overall),
            'classes': classes,
            'absent': [n for n, iou in zip(info.classes, result.iou) if math.isnan(iou)],
            'images': int(self.images[0]),
            'confusion_matrix': self.matrix.tolist(),
        }
        if info.categories:
            names, matrix = metrics.merge(self.matrix, info.categories)
            categories = metrics.scores(matrix)
            report['category_miou'] = percent(categories.miou)
            report['categories'] = {n: percent(iou) for n, iou in zip(names, categories.iou)}
        if self._with_boundary:
            boundary = metrics.boundary_iou(self.boundary)
            report['boundary_miou'] = percent(metrics.mean(boundary))
            for name, iou in zip(info.classes, boundary):
                classes[name]['boundary_iou'] = percent(iou)
        return report


def check_labels(
    dataset: Dataset, processes: Processes, other: LabelScan | None = None
) -> LabelScan:
    """Read all labels of a split, to find a bad one in minutes instead of hours.

    Each process reads its shard.

    Args:
        dataset: The split.
        processes: All processes of the job.
        other: What the labels of other splits show, to compare with.

    Returns:
        What the labels of all processes show.

    Raises:
        UserError: A label cannot be used, the reader refuses the labels as a whole, or all pixels
            are ignored.
    """
    if len(dataset) >= MANY_FILES:
        LOG.info('checking the labels of %d images of %s', len(dataset), dataset.split)
    quiet = True if processes.rank else None  # None: shown on terminals only
    shard, own = processes.shard(len(dataset)), LabelScan()
    for index in ProgressBar(shard, 'checking labels', leave=False, unit='file', disable=quiet):
        own += label_scan.scan_of_label(dataset[index].label, *dataset.check(index))
    scan = reduce(add, processes.gather(own))
    label_scan.judge(dataset, scan, other)
    label_scan.refuse_ignored(dataset, scan)
    return scan


def predict_shard(
    predict: Callable[[Picture], np.ndarray],
    dataset: Dataset,
    processes: Processes,
    consumers: Sequence[Consumer],
    evaluator: Evaluator | None,
):
    """Predict and count this process's shard of a data set, and hand on the results.

    One thread reads samples, the caller's thread predicts, a third thread counts and writes.

    Args:
        predict: Function from an image, (H, W, 3) uint8, BGR, or the pictures of a scene, to its
            class map, (H, W) uint8.
        dataset: Data set to predict.
        processes: Processes of the job.
        consumers: Functions that take the result of every image, such as those that write files.
        evaluator: Accumulates the counts; None to skip scoring.

    Raises:
        UserError: A sample cannot be read, or a file cannot be written.
    """

    def labels_of(index: int) -> np.ndarray | None:
        return None if evaluator is None else dataset.label(index)

    def finish(
        index: int, image: np.ndarray, labels: np.ndarray | None, predictions: np.ndarray
    ) -> None:
        matrix = None
        if evaluator is not None and labels is not None:
            matrix = evaluator.process(labels, predictions)
        for consume in consumers:
            consume(ImageResult(index, image, labels, predictions, matrix))

    run_shard(predict, dataset, processes, labels_of, finish)


def run_shard(
    predict: Callable[[Picture], Any],
    dataset: Dataset,
    processes: Processes,
    targets_of: Callable[[int], Any],
    finish: Callable[[int, np.ndarray, Any, Any], None],
):
    """Read, predict and finish the samples of this process's shard, each in a thread of its own.

    Args:
        predict: Function from an image, or the pictures of a scene, to the predictions.
        dataset: Data set to predict.
        processes: Processes of the job.
        targets_of: Function from the index of a sample to what is known of it, or None.
        finish: Receives the index of a sample, its camera image, (H, W, 3) uint8, BGR, what is
            known of it, and the predictions.

    Raises:
        UserError: A sample cannot be read, or a file cannot be written.
    """

    def read(index: int) -> tuple[Picture, Any]:
        return read_pictures(dataset, index), targets_of(index)

    def compute(index: int, sample: tuple[Picture, Any]) -> tuple[np.ndarray, Any, Any]:
        pictures, targets = sample
        return scene_of(pictures).image, targets, predict(pictures)

    quiet = True if processes.rank else None
    shard = processes.shard(len(dataset))
    pipeline = run_pipeline(
        shard, read, compute, lambda index, result: finish(index, *result), _bytes_of
    )
    with closing(pipeline) as errors:
        for error in ProgressBar(errors, dataset.split, len(shard), unit='image', disable=quiet):
            if error is not None:
                raise error


def read_pictures(dataset: Dataset, index: int) -> Picture:
    """Return what the network sees of a sample: its image, or the pictures of its scene."""
    if len(dataset.flow) == 1:
        return dataset.image(index)
    return Scene(dataset.pictures(index), dataset.flow)


def _bytes_of(parts: Iterable[Any]) -> int:
    """Return the size of a sample or of its result: arrays, scenes, or arrays by task."""
    found = 0
    for part in parts:
        arrays = part.values() if isinstance(part, Mapping) else [part]
        found += sum(array.nbytes for array in arrays if array is not None)
    return found


def percent(share: float) -> float | None:
    """Return a share in percent; None for NaN."""
    return None if math.isnan(share) else 100 * float(share)
