"""Compute the statistics of a split with tasks: each camera image is read once for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from common.process_map import map_samples
from common.tasks import CLASSES, DEPTH
from datasets import label_scan, scenes
from datasets.dataset import Dataset
from datasets.image_files import read_image
from datasets.label_scan import LabelScan
from datasets.label_values import check_range
from datasets.preparation.statistics import ClassSums, Statistics, channel_counts
from datasets.samples import regular_file
from datasets.scene_scan import DepthFacts


@dataclass(frozen=True)
class SceneStatistics:
    """The statistics of a split with tasks.

    Attributes:
        images: Those of the camera images, without classes.
        classes: Those of each task with classes.
        depths: What the depth maps of each depth task show.
    """

    images: Statistics
    classes: Mapping[str, Statistics]
    depths: Mapping[str, DepthFacts]


@dataclass(frozen=True)
class _Measured:
    """What one sample shows: its (3, 256) channel counts, and the targets of each task."""

    values: np.ndarray
    scans: Mapping[str, LabelScan]
    depths: Mapping[str, DepthFacts]


def compute_scene_statistics(dataset: Dataset, processes: int = 1) -> SceneStatistics:
    """Return the statistics of a split with tasks.

    Args:
        dataset: The split.
        processes: Number of worker processes.

    Raises:
        InputError: A file cannot be used.
        DataError: The label files of a task contradict each other.
    """
    values = np.zeros((3, 256), np.int64)
    sums = {t.name: ClassSums(t.channels) for t in dataset.tasks if t.kind == CLASSES}
    depths = {task.name: DepthFacts() for task in dataset.tasks if task.kind == DEPTH}
    for sample in map_samples(dataset, _measure, processes, 'measuring'):
        values += sample.values
        for name, scan in sample.scans.items():
            sums[name].add(scan)
        for name, facts in sample.depths.items():
            depths[name] += facts
    for name, total in sums.items():
        label_scan.judge(dataset.of_task(name), total.scan)
    classes = {name: each.statistics(len(dataset), values) for name, each in sums.items()}
    return SceneStatistics(ClassSums(0).statistics(len(dataset), values), classes, depths)


def _measure(dataset: Dataset, index: int) -> _Measured:
    sample = dataset[index]
    image = read_image(regular_file(sample.image), dataset.reading)
    scans, depths = {}, {}
    for task in dataset.tasks:
        values, fact = scenes.decode_target(dataset, index, task.name)
        path = sample.target(task.name)
        if task.kind == CLASSES:
            check_range(values, task.channels, path)
            scans[task.name] = label_scan.scan_of_label(path, values, fact)
        else:
            depths[task.name] = DepthFacts.of(values)
        dataset.check_sizes(index, image.shape[:2], values.shape, path)
    return _Measured(channel_counts(image), scans, depths)
