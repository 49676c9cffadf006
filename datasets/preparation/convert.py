"""Convert label files into PNG files of class indices, with 255 for ignored pixels.

The reader of the data set decodes the labels as for training. The converted file is written beside
the original, which is kept. Such a PNG is decoded several times faster than a MAT-file or a colour
image, and other programs can read it as well. The reader decides which labels to convert and
defines the names of both files.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import InputError, UserError
from common.process_map import map_samples
from datasets.dataset import Dataset
from datasets.image_files import write_image
from datasets.readers.contract import LabelEndings
from datasets.readers.label_files import read_indices
from datasets.registry import preparation

WRITTEN, KEPT = 'written', 'kept'


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        written: Number of converted labels.
        kept: Number of labels whose converted file was up to date.
        plain: Number of labels that need no conversion.
        problems: A line for each label that could not be converted.
    """

    written: int
    kept: int
    plain: int
    problems: tuple[str, ...]


def convert_labels(dataset: Dataset, processes: int = 1) -> Conversion:
    """Convert all labels of a split; the conversion continues after a bad label.

    A converted file is kept if it is not older than its original and has the same class indices,
    so an interrupted conversion resumes. Every written file is read back and compared.

    Args:
        dataset: The split.
        processes: Number of worker processes.
    """
    endings = preparation(dataset.info.name).label_endings
    labelled = sum(sample.label is not None for sample in dataset)
    if endings is None:
        return Conversion(0, 0, labelled, ())
    originals = [_original(endings, sample.label) for sample in dataset]
    chosen = [
        replace(sample, label=original)
        for sample, original in zip(dataset, originals)
        if original is not None
    ]
    work = replace(dataset, samples=tuple(chosen))
    convert_one = partial(_convert_one, endings)
    results = list(map_samples(work, convert_one, processes, 'converting'))
    return Conversion(
        results.count(WRITTEN),
        results.count(KEPT),
        labelled - len(chosen),
        tuple(result for result in results if result not in (WRITTEN, KEPT)),
    )


def _original(endings: LabelEndings, label: Path | None) -> Path | None:
    """Return the published label file, or None if there is nothing to convert.

    Readers prefer a converted file, so ``label`` may be one; the published file is beside it.
    """
    if label is None:
        return None
    if label.name.endswith(endings.converted):
        label = label.with_name(label.name.removesuffix(endings.converted) + endings.published)
        return label if label.is_file() else None
    return label if label.name.endswith(endings.published) else None


def _convert_one(endings: LabelEndings, dataset: Dataset, index: int) -> str:
    """Convert one label; return ``WRITTEN``, ``KEPT``, or a line that describes the problem."""
    original = dataset[index].label
    assert original is not None  # convert_labels selects samples with an original
    target = endings.target(original)
    try:
        labels = dataset.label(index)
        if not is_older(target, original) and holds(target, labels):
            return KEPT
        write_verified(target, labels)
    except UserError as error:
        return str(error)
    return WRITTEN


def write_verified(target: Path, labels: np.ndarray) -> None:
    """Write class indices as a PNG and read them back; raises ``UserError``."""
    write_image(target, labels)
    if not np.array_equal(read_indices(target), labels):
        raise UserError(f'{target}: differs from the data written to it; check the disk')


def is_older(target: Path, original: Path) -> bool:
    """Return whether a file is missing, or older than the one that it was made from."""
    return not target.is_file() or target.stat().st_mtime_ns < original.stat().st_mtime_ns


def holds(target: Path, labels: np.ndarray) -> bool:
    """Return whether a PNG has these class indices; a damaged one has not."""
    try:
        return np.array_equal(read_indices(target), labels)
    except InputError:
        return False
