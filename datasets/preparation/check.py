"""Check a split: read all its files and report every problem.

    dataset = datasets.open('camvid', 'data/camvid', 'train', complete=False)
    report = check_split(dataset, processes=4)
    report.problems             # each with its file and a message
    report.pixels               # number of pixels of every class, and of IGNORE

The check continues after a problem.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError, UserError
from common.process_map import map_samples
from datasets import label_scan
from datasets.dataset import Dataset
from datasets.info import IGNORE, DataError
from datasets.label_scan import LabelScan
from datasets.label_values import check_range
from datasets.readers import layout
from datasets.registry import UNLABELLED_SPLIT, preparation
from datasets.samples import NO_IMAGE, NO_LABEL


@dataclass(frozen=True)
class Problem:
    """A problem with a file.

    Attributes:
        file: The file.
        kind: ``missing``: the other file of the pair does not exist; ``image`` or ``label``: this
            file is unreadable; ``size``: image and label differ in size; ``values``: the label has
            values that are not classes; ``split``: the reader refuses the labels as a whole.
        message: One line, which begins with the file.
    """

    file: Path
    kind: str
    message: str


@dataclass(frozen=True)
class SplitReport:
    """The contents and the problems of a split.

    Attributes:
        samples: Number of samples.
        problems: All problems.
        scan: What the readable labels show.
    """

    samples: int
    problems: tuple[Problem, ...]
    scan: LabelScan

    @property
    def pixels(self) -> np.ndarray:
        """(256,) int64, number of pixels with each label value, in all readable labels."""
        return self.scan.pixels

    @property
    def images(self) -> np.ndarray:
        """(256,) int64, number of readable labels in which each value occurs."""
        return self.scan.images

    def as_json(self, dataset: Dataset) -> dict[str, Any]:
        """Return the report for ``--json``; shares are relative to all pixels, also ignored ones.

        Args:
            dataset: The split.
        """
        total, info = max(int(self.pixels.sum()), 1), dataset.info
        return {
            'samples': self.samples,
            'unused': [{'file': str(file.path), 'reason': file.reason} for file in dataset.unused],
            'problems': [
                {'file': str(problem.file), 'kind': problem.kind, 'message': problem.message}
                for problem in self.problems
            ],
            'classes': {
                name: {
                    'pixels': int(self.pixels[index]),
                    'share': int(self.pixels[index]) / total,
                    'images': int(self.images[index]),
                }
                for index, name in enumerate(info.classes)
            },
            'without_pixels': self.scan.missing_classes(info) if self.scan.labels else [],
            'ignored': int(self.pixels[IGNORE]) / total,
        }


def check_split(
    dataset: Dataset, processes: int = 1, other: LabelScan | None = None
) -> SplitReport:
    """Read every image and label of a split and report all problems, also unpaired files.

    Args:
        dataset: The split, opened with ``complete=False`` to report missing labels as well.
        processes: Number of worker processes.
        other: What the labels of other splits show, to compare the label files with.
    """
    problems = _unpaired(dataset)
    scan = LabelScan()
    for found, part in map_samples(dataset, _examine, processes, 'checking'):
        problems += found
        scan += part
    together = label_scan.problems(dataset, scan, other)
    problems += [Problem(path, 'values', line) for path, line in together]
    try:
        if not together:
            label_scan.refuse_ignored(dataset, scan)
    except DataError as error:
        problems.append(Problem(dataset.root or Path(), 'split', str(error)))
    return SplitReport(len(dataset), tuple(problems), scan)


def _unpaired(dataset: Dataset) -> list[Problem]:
    """Return a problem for each image without a label and each label without an image, once."""
    found = [
        Problem(file.path, 'missing', f'{file.path}: has no label')
        if file.reason == NO_LABEL
        else Problem(file.path, 'missing', f'{file.path}: a label without an image')
        for file in dataset.unused
        if file.reason in (NO_LABEL, NO_IMAGE)
    ]
    found += [*_images_without_label(dataset), *_labels_without_image(dataset)]
    return list({problem.file: problem for problem in found}.values())


def _images_without_label(dataset: Dataset) -> list[Problem]:
    """Return a problem for each image without a label; none for a test split without labels."""
    problems = []
    for image, label in ((sample.image, sample.label) for sample in dataset):
        if label is None or not label.exists():
            wanted = f'; {label} is missing' if label else ''
            problems.append(Problem(image, 'missing', f'{image}: has no label{wanted}'))
    without_labels = dataset.split == UNLABELLED_SPLIT and len(problems) == len(dataset)
    return [] if without_labels else problems


def _labels_without_image(dataset: Dataset) -> list[Problem]:
    """Return a problem for each label file that belongs to no image.

    The names of an image and its label have a common beginning, which identifies the pair, and
    different endings. The samples show which endings occur. A label may belong to an image that is
    not among the samples, because a list may omit images.
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
    labels = {label for _, label in pairs}
    for folder in {image.parent for image, _ in pairs}:
        images = [path for path in _files(folder) if path not in labels]
        beginnings |= {_beginning(path.name, image_endings) for path in images}
        beginnings |= {path.stem for path in images if path.suffix.lower() in layout.IMAGES}
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
    """Return ``name`` without the longest matching ending, or None if no ending matches."""
    fitting = [ending for ending in endings if name.endswith(ending)]
    return name.removesuffix(max(fitting, key=len)) if fitting else None


def _examine(dataset: Dataset, index: int) -> tuple[list[Problem], LabelScan]:
    """Return the problems of one sample and the scan of its label."""
    sample, problems, nothing = dataset[index], [], LabelScan()
    image = None
    try:
        image = dataset.image(index)
    except InputError as error:
        problems.append(Problem(sample.image, 'image', str(error)))
    if sample.label is None or not sample.label.exists():
        return problems, nothing  # a split without labels, or a missing label reported before
    try:
        label, fact = dataset.decoded(index)
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
    return problems, label_scan.scan_of_label(sample.label, label, fact)
