"""Label files into the plainest form: PNGs whose values are class indices, 255 for ignored pixels.

They are decoded by the reader of the data set, as for training, and written beside the original,
which stays. Decoding a plain PNG is several times faster than a MAT-file or a colour image, and
other programs read it too. Which labels are converted, and the names of both, is up to the reader.
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


@dataclass(frozen=True)
class Conversion:
    """How many labels were written, were right already, or are plain from the start, and what was
    wrong with the rest, a line each.
    """

    written: int
    kept: int
    plain: int
    problems: tuple[str, ...]


def convert(dataset: Dataset, processes: int = 1) -> Conversion:
    """Convert all labels of a split; a bad one does not stop the others.

    A target that is younger than its original and holds the same classes is left alone, so an
    interrupted conversion goes on where it ended. Every target is read back and compared.
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
        results.count('written'),
        results.count('kept'),
        labelled - len(chosen),
        tuple(result for result in results if result not in ('written', 'kept')),
    )


def _original(endings: LabelEndings, label: Path | None) -> Path | None:
    """The label file as published, where it can be converted.

    A reader prefers the converted file, so the published one is looked for beside it.
    """
    if label is None:
        return None
    if label.name.endswith(endings.converted):
        label = label.with_name(label.name.removesuffix(endings.converted) + endings.published)
        return label if label.is_file() else None
    return label if label.name.endswith(endings.published) else None


def _convert_one(endings: LabelEndings, dataset: Dataset, index: int) -> str:
    """Make one target; ``written``, ``kept``, or a line on what is wrong."""
    original = dataset[index].label
    assert original is not None  # of those that were chosen
    target = endings.target(original)
    try:
        labels = dataset.label(index)
        if _is_up_to_date(original, target, labels):
            return 'kept'
        write_image(target, labels)
        if not np.array_equal(read_indices(target), labels):
            return f'{target}: does not hold what was written to it; is the disk in order?'
    except UserError as error:
        return str(error)
    return 'written'


def _is_up_to_date(original: Path, target: Path, labels: np.ndarray) -> bool:
    if not target.is_file() or target.stat().st_mtime_ns < original.stat().st_mtime_ns:
        return False
    try:
        return np.array_equal(read_indices(target), labels)
    except InputError:  # damaged: it is written again
        return False
