"""Evaluation: predictions of a whole split become one confusion matrix, and that becomes scores."""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import tables
from common.tables import Column
from datasets import Dataset, DatasetInfo, image_files
from engine.distributed.processes import Processes
from engine.evaluation import metrics
from engine.inference.predictor import Predictor
from engine.inference.prefetch import overlapped
from engine.inference.test_time import Protocol


@dataclass(frozen=True)
class Output:
    """A file that is written for every image.

    target: the sample's number -> the file. write: writes it, from its path, the sample's number,
    the image, the label or None, and the prediction.
    """

    target: Callable[[int], Path]
    write: Callable[[Path, int, np.ndarray, np.ndarray | None, np.ndarray], None]


class Evaluator:
    """Counts over a data set, from one class map at a time; the same in any order and any shards.

    boundary: count boundary regions too, for boundary IoU.
    """

    def __init__(self, num_classes: int, boundary: bool = False):
        self.num_classes, self._with_boundary = num_classes, boundary
        self.matrix = np.zeros((num_classes, num_classes), np.int64)
        self.boundary = np.zeros((num_classes, 2), np.int64)
        self.images = np.zeros(1, np.int64)

    def process(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Count one image: two ``uint8`` class maps (H, W) of the labels' original size."""
        self.matrix += metrics.confusion_matrix(labels, predictions, self.num_classes)
        if self._with_boundary:
            self.boundary += metrics.boundary_counts(labels, predictions, self.num_classes)
        self.images += 1

    def add_up(self, processes: Processes) -> None:
        """Make the counts those of all processes."""
        self.matrix = processes.total(self.matrix)
        self.boundary = processes.total(self.boundary)
        self.images = processes.total(self.images)

    def report(self, info: DatasetInfo) -> dict[str, Any]:
        """The scores in percent, ready for JSON; null where there is nothing to score.

        info: the data set's, for names of classes and categories.
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


def check(dataset: Dataset, processes: Processes) -> None:
    """Read all labels of this process's shard, so that a bad one is found in minutes, not hours."""
    quiet = True if processes.rank else None  # None: shown on a terminal only
    shard = processes.shard(len(dataset))
    for index in tqdm(shard, 'checking labels', leave=False, unit='file', disable=quiet):
        dataset.check(index)


def run(
    predictor: Predictor,
    dataset: Dataset,
    protocol: Protocol,
    processes: Processes,
    outputs: list[Output],
    evaluator: Evaluator | None,
):
    """Predict this process's shard; count it, unless ``evaluator`` is None; call the outputs.

    Samples are read, and counted and written, in threads beside the one that predicts.
    """

    def read(index):
        labels = None if evaluator is None else dataset.label(index)
        return dataset.image(index), labels

    def predict(index, sample):
        image, labels = sample
        return image, labels, predictor.labels(image, protocol)

    def finish(index, result):
        image, labels, predictions = result
        if evaluator is not None:
            evaluator.process(labels, predictions)
        for output in outputs:
            output.write(output.target(index), index, image, labels, predictions)

    quiet = True if processes.rank else None
    shard = processes.shard(len(dataset))
    # OpenCV's messages are switched on and off for all threads.
    with (
        image_files.silent_opencv(),
        closing(overlapped(shard, read, predict, finish, _bytes)) as errors,
    ):
        for error in tqdm(errors, dataset.split, len(shard), unit='image', disable=quiet):
            if error is not None:
                raise error


def _bytes(sample) -> int:
    return sum(array.nbytes for array in sample if array is not None)


def table(report: dict) -> str:
    """The report as text: a line a class, then the means."""
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
            'left out of the mean, as no labelled pixel is or is taken for one: '
            + ', '.join(report['absent'])
        )
    return '\n'.join(lines)


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * float(share)


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
