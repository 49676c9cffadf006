"""Count predictions of a whole split in a confusion matrix, and compute scores from it."""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from common.class_maps import check_num_classes
from common.log import LOG
from common.process_map import MANY_FILES
from common.terminal import tables
from common.terminal.progress import ProgressBar
from common.terminal.tables import Column
from datasets import Dataset, DatasetInfo, label_scan
from datasets.label_scan import LabelScan
from engine.distributed.processes import Processes
from engine.evaluation import metrics
from engine.inference.prefetch import run_pipeline


@dataclass(frozen=True)
class Output:
    """A kind of file that is written for every image.

    Attributes:
        target: Function from a sample's index to the path of its file.
        write: Function that writes the file. Its arguments are the path, the sample's index, the
            image, the label or None, and the prediction.
    """

    target: Callable[[int], Path]
    write: Callable[[Path, int, np.ndarray, np.ndarray | None, np.ndarray], None]


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

    def process(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Count one image.

        Args:
            labels: (H, W) uint8, at the labels' original size.
            predictions: (H, W) uint8, at the same size.
        """
        self.matrix += metrics.confusion_matrix(labels, predictions, self.num_classes)
        if self._with_boundary:
            self.boundary += metrics.boundary_counts(labels, predictions, self.num_classes)
        self.images += 1

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
                'iou': _percent(iou),
                'accuracy': _percent(accuracy),
                'share': _percent(share),
            }
            for name, iou, accuracy, share in zip(
                info.classes, result.iou, result.accuracy, result.share
            )
        }
        report: dict[str, Any] = {
            'miou': _percent(result.miou),
            'mean_accuracy': _percent(result.mean_accuracy),
            'pixel_accuracy': _percent(result.pixel_accuracy),
            'fwiou': _percent(result.fwiou),
            'overall': _percent(result.overall),
            'classes': classes,
            'absent': [n for n, iou in zip(info.classes, result.iou) if math.isnan(iou)],
            'images': int(self.images[0]),
        }
        if info.categories:
            names, matrix = metrics.merge(self.matrix, info.categories)
            categories = metrics.scores(matrix)
            report['category_miou'] = _percent(categories.miou)
            report['categories'] = {n: _percent(iou) for n, iou in zip(names, categories.iou)}
        if self._with_boundary:
            boundary = metrics.boundary_iou(self.boundary)
            report['boundary_miou'] = _percent(metrics.mean(boundary))
            for name, iou in zip(info.classes, boundary):
                classes[name]['boundary_iou'] = _percent(iou)
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
    predict: Callable[[np.ndarray], np.ndarray],
    dataset: Dataset,
    processes: Processes,
    outputs: list[Output],
    evaluator: Evaluator | None,
):
    """Predict, count and write this process's shard of a data set.

    One thread reads samples, the caller's thread predicts, a third thread counts and writes.

    Args:
        predict: Function from an image, (H, W, 3) uint8, BGR, to its class map, (H, W) uint8.
        dataset: Data set to predict.
        processes: Processes of the job.
        outputs: Files to write for every image.
        evaluator: Accumulates the counts; None to skip scoring.

    Raises:
        UserError: A sample cannot be read, or a file cannot be written.
    """

    def read(index):
        labels = None if evaluator is None else dataset.label(index)
        return dataset.image(index), labels

    def compute(index, sample):
        image, labels = sample
        return image, labels, predict(image)

    def finish(index, result):
        image, labels, predictions = result
        if evaluator is not None:
            evaluator.process(labels, predictions)
        for output in outputs:
            output.write(output.target(index), index, image, labels, predictions)

    quiet = True if processes.rank else None
    shard = processes.shard(len(dataset))
    with closing(run_pipeline(shard, read, compute, finish, _sample_bytes)) as errors:
        for error in ProgressBar(errors, dataset.split, len(shard), unit='image', disable=quiet):
            if error is not None:
                raise error


def _sample_bytes(sample) -> int:
    return sum(array.nbytes for array in sample if array is not None)


def format_table(report: dict) -> str:
    """Format a report as text: one line per class, then the means."""
    columns = ['iou', 'accuracy', 'share'] + ['boundary_iou'] * ('boundary_miou' in report)
    titles = {'iou': 'IoU', 'boundary_iou': 'boundary IoU'}
    lines = tables.lines(
        [Column(), *(Column(titles.get(c, c), 14, right=True, before='') for c in columns)],
        [
            [name, *(_number(values[c]) for c in columns)]
            for name, values in report['classes'].items()
        ],
    )
    lines.append('')
    means = {
        'mIoU': 'miou',
        'category mIoU': 'category_miou',
        'boundary mIoU': 'boundary_miou',
        'mean accuracy': 'mean_accuracy',
        'pixel accuracy': 'pixel_accuracy',
        'frequency-weighted IoU': 'fwiou',
        'overall (mean of mIoU and pixel accuracy)': 'overall',
    }
    rows = [[_number(report[key]), name] for name, key in means.items() if key in report]
    categories = report.get('categories', {}).items()
    rows += [[_number(iou), f'category {name}'] for name, iou in categories]
    lines += tables.lines([Column(width=7, right=True), Column()], rows)
    if report['absent']:
        lines.append(
            'left out of the mean, because they are neither labelled nor predicted: '
            + ', '.join(report['absent'])
        )
    return '\n'.join(lines)


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * float(share)


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
