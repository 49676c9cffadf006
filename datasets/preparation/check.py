"""Reading a whole data set, and what is wrong with it.

    report = check(datasets.open('camvid', 'data/camvid', 'train', complete=False), processes=4)
    report.problems             # a line each for people, with the file
    report.pixels               # of every class, and of IGNORE

All problems are collected; none ends the reading.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError, UserError
from common.process_map import map_samples
from datasets.dataset import Dataset, check_range
from datasets.registry import WITHOUT_LABELS, preparation


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file.

    kind: ``missing`` (the other file of the pair), ``image`` or ``label`` (unreadable), ``size`` or
    ``values``. message: a line that begins with the file.
    """

    file: Path
    kind: str
    message: str


@dataclass(frozen=True)
class SplitReport:
    """What a split holds.

    samples: their number. pixels: (256,), how often every label value occurs, in the labels that
    could be read. images: (256,), in how many of them it occurs.
    """

    samples: int
    problems: tuple[Problem, ...]
    pixels: np.ndarray
    images: np.ndarray


def check(dataset: Dataset, processes: int = 1) -> SplitReport:
    """Read every image and every label of ``dataset``, and look for files without a partner."""
    problems = [*_images_without_label(dataset), *_labels_without_image(dataset)]
    pixels, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for found, counts in map_samples(dataset, _examine, processes, 'checking'):
        problems += found
        pixels += counts
        images += counts > 0
    return SplitReport(len(dataset), tuple(problems), pixels, images)


def _images_without_label(dataset: Dataset) -> list[Problem]:
    """Only a test split may have none at all."""
    problems = []
    for image, label in ((sample.image, sample.label) for sample in dataset):
        if label is None or not label.exists():
            wanted = f'; {label} is not there' if label else ''
            problems.append(Problem(image, 'missing', f'{image}: has no label{wanted}'))
    without_labels = dataset.split == WITHOUT_LABELS and len(problems) == len(dataset)
    return [] if without_labels else problems


def _labels_without_image(dataset: Dataset) -> list[Problem]:
    """Files in the folders of the labels that end like labels and begin like no image.

    What image and label names have in common in the samples is the beginning; the rest is how
    they end. Images need not be samples: lists leave some out.
    """
    pairs = [
        (sample.image, sample.label)
        for sample in dataset
        if sample.label is not None and sample.key is None
    ]
    beginnings: set[str | None] = set()
    image_endings: set[str] = set()
    known = preparation(dataset.info.name).label_endings
    label_endings = {known.published, known.converted} if known else set()
    for image, label in pairs:
        beginning = os.path.commonprefix([image.stem, label.stem]).rstrip('_-.')
        beginnings.add(beginning)
        image_endings.add(image.name.removeprefix(beginning))
        label_endings.add(label.name.removeprefix(beginning))
    for folder in {image.parent for image, _ in pairs}:
        beginnings |= {_beginning(path.name, image_endings) for path in _files(folder)}
    problems = []
    for folder in sorted({label.parent for _, label in pairs}):
        for path in _files(folder):
            own = _beginning(path.name, label_endings)
            if own is not None and own not in beginnings:
                problems.append(Problem(path, 'missing', f'{path}: a label without an image'))
    return problems


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob('[!.]*')) if path.is_file()]


def _beginning(name: str, endings: set[str]) -> str | None:
    """``name`` without the longest of ``endings`` that it has; None when it has none of them."""
    fitting = [ending for ending in endings if name.endswith(ending)]
    return name.removesuffix(max(fitting, key=len)) if fitting else None


def _examine(dataset: Dataset, index: int) -> tuple[list[Problem], np.ndarray]:
    """All that is wrong with one sample, and its label's histogram (256,)."""
    sample, problems, nothing = dataset[index], [], np.zeros(256, np.int64)
    image = None
    try:
        image = dataset.image(index)
    except InputError as error:
        problems.append(Problem(sample.image, 'image', str(error)))
    if sample.label is None or not sample.label.exists():
        return problems, nothing  # a split without labels, or told already
    try:
        label = dataset.decoded(index)
    except UserError as error:
        return [*problems, Problem(sample.label, 'label', str(error))], nothing
    try:
        check_range(label, len(dataset.info.classes), sample.label)
    except InputError as error:
        problems.append(Problem(sample.label, 'values', str(error)))
    if image is not None:
        try:
            dataset.check_sizes(index, image.shape[:2], label.shape)
        except InputError as error:
            problems.append(Problem(sample.label, 'size', str(error)))
    return problems, np.bincount(label.ravel(), minlength=256)
