"""Scan the labels of a split: which classes have pixels, and what all files have in common.

    scan = scan_labels(dataset, processes=4)
    scan.missing_classes(dataset.info)      # names of the classes without a pixel

Scans are kept in the cache folder, by the names, sizes and times of the label files.
"""

import hashlib
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from common import __version__, files
from common.errors import InputError, UserError
from common.log import LOG
from common.process_map import map_samples
from common.tasks import SEGMENTATION
from common.terminal.name_list import first_names
from common.writing import cache_entries
from datasets.dataset import Dataset, JudgingDecoder
from datasets.info import DataError, DatasetInfo

CACHE_VERSION = 2
SINGLE_PROCESS_SECONDS = 1.0  # a scan that takes longer continues in worker processes


@dataclass(frozen=True)
class LabelScan:
    """The contents of some labels; scans of disjoint parts of a split can be added.

    Attributes:
        labels: Number of labels.
        pixels: (256,) int64, number of pixels of each class index, and of 255.
        images: (256,) int64, number of labels in which each class index occurs.
        facts: For each text of ``JudgingDecoder.read`` the number of files, and the path of the
            first one.
    """

    labels: int = 0
    pixels: np.ndarray = field(default_factory=partial(np.zeros, 256, np.int64))
    images: np.ndarray = field(default_factory=partial(np.zeros, 256, np.int64))
    facts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def __add__(self, other: 'LabelScan') -> 'LabelScan':
        facts = dict(self.facts)
        for fact, (count, first) in other.facts.items():
            known, path = facts.get(fact, (0, first))
            facts[fact] = known + count, min(path, first)
        return LabelScan(
            self.labels + other.labels,
            self.pixels + other.pixels,
            self.images + other.images,
            facts,
        )

    def missing_classes(self, info: DatasetInfo) -> list[str]:
        """Return the names of the classes that no pixel belongs to."""
        return info.classes_without(self.pixels)

    def is_ignored(self, info: DatasetInfo) -> bool:
        """Return whether there are labels, but all of their pixels are ignored."""
        return self.labels > 0 and not self.pixels[: len(info.classes)].any()


def scan_of_label(path: Path | None, labels: np.ndarray, fact: str | None) -> LabelScan:
    """Return the scan of one label.

    Args:
        path: The label file.
        labels: (H, W) uint8, its class indices.
        fact: What the decoder says about the file, see :meth:`Dataset.decoded`.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    facts = {} if fact is None else {fact: (1, str(path))}
    return LabelScan(1, counts, (counts > 0).astype(np.int64), facts)


def judge(dataset: Dataset, scan: LabelScan, other: LabelScan | None = None) -> None:
    """Raise ``DataError`` for the first of :func:`problems`."""
    for _, problem in problems(dataset, scan, other):
        raise DataError(problem)


def problems(
    dataset: Dataset, scan: LabelScan, other: LabelScan | None = None
) -> list[tuple[Path, str]]:
    """Return the label files that do not fit the others, each with a line that describes it.

    Args:
        dataset: The split.
        scan: Its scan.
        other: The scan of other splits, to compare with; their own problems are left out.
    """
    if not isinstance(dataset.decode, JudgingDecoder):
        return []
    return dataset.decode.problems(scan.facts, {} if other is None else other.facts)


class SplitJudge:
    """Function that judges the scan of one split after the other, each with those before it."""

    def __init__(self) -> None:
        self._known = LabelScan()

    def __call__(self, dataset: Dataset, scan: LabelScan) -> None:
        """Raise ``DataError`` for the first of :func:`problems`."""
        judge(dataset, scan, self._known)
        self._known += scan


def warn(dataset: Dataset, indices: Sequence[int]) -> None:
    """Log the problems among the label files of some samples; raises ``InputError``."""
    if isinstance(dataset.decode, JudgingDecoder):
        part = dataset.part(indices)
        for _, problem in problems(part, scan_labels(part)):
            LOG.warning('%s', problem)


def refuse_ignored(dataset: Dataset, scan: LabelScan) -> None:
    """Raise ``DataError`` if all pixels of a split are ignored."""
    if scan.is_ignored(dataset.info):
        raise DataError(
            f'{place_of(dataset)} has no pixel of any class, as its {scan.labels} labels are '
            'ignored altogether; correct the labels, or what the data set ignores'
        )


def name_classes(missing: list[str], dataset: Dataset, most: int = 10) -> str:
    """Return the names of classes for a message: ``2 of 3 classes (car, tree)``.

    Those of another task than segmentation are called by its name: ``1 of 2 classes of motion``.
    """
    of_task = '' if dataset.info.task == SEGMENTATION else f' of {dataset.info.task}'
    count = f'{len(missing)} of {len(dataset.info.classes)} classes{of_task}'
    return f'{count} ({first_names(missing, most)})'


def place_of(dataset: Dataset) -> str:
    """Return the name of a split for the beginning of a message."""
    return f'{dataset.root or dataset.info.name}: the split {dataset.split}'


def scan_labels(
    dataset: Dataset,
    processes: int = 1,
    skip_bad: bool = False,
    on_progress: Callable[[str], None] = lambda activity: None,
) -> LabelScan:
    """Read all labels of a split.

    Args:
        dataset: The split.
        processes: Number of worker processes, if the scan takes longer than
            ``SINGLE_PROCESS_SECONDS``.
        skip_bad: Leave out labels that cannot be read.
        on_progress: Called with a description of each label.

    Raises:
        InputError: A label cannot be used.
    """
    total, started, examine = LabelScan(), time.monotonic(), partial(_examine, skip_bad=skip_bad)
    for index in range(len(dataset)):
        if processes > 1 and time.monotonic() - started > SINGLE_PROCESS_SECONDS:
            rest = dataset.part(range(index, len(dataset)))
            parts: Iterable[LabelScan] = map_samples(rest, examine, processes, 'counting')
            return sum(_reporting(parts, on_progress), total)
        total += examine(dataset, index)
        on_progress(f'label {index} of {len(dataset)}')
    return total


def _examine(dataset: Dataset, index: int, skip_bad: bool) -> LabelScan:
    try:
        return scan_of_label(dataset[index].label, *dataset.examined(index))
    except InputError:
        if not skip_bad:
            raise
        return LabelScan()


def _reporting(
    parts: Iterable[LabelScan], on_progress: Callable[[str], None]
) -> Iterator[LabelScan]:
    for number, part in enumerate(parts, 1):
        on_progress(f'{number} labels of worker processes')
        yield part


class ScanCache:
    """The place of a split's scan in the cache folder.

    Args:
        dataset: The split.
        skip_bad: Whether labels that cannot be read are left out.
    """

    def __init__(self, dataset: Dataset, skip_bad: bool):
        self._dataset, self._skip_bad = dataset, skip_bad

    def load(self) -> LabelScan | None:
        """Return the stored scan, or None if there is no undamaged one."""
        try:
            entry = cache_entries.read(self._path())
            found = entry.facts if entry else {}
            pixels, images = (np.array(found[key], np.int64) for key in ('pixels', 'images'))
            facts = {str(fact): (int(n), str(path)) for fact, (n, path) in found['facts'].items()}
            scan = LabelScan(int(found['labels']), pixels, images, facts)
        except (UserError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None
        fits = all(array.shape == (256,) and (array >= 0).all() for array in (pixels, images))
        return scan if fits and self._has_known_facts(scan) else None

    def _has_known_facts(self, scan: LabelScan) -> bool:
        """Return whether the decoder of the split understands the facts of a stored scan."""
        if not isinstance(self._dataset.decode, JudgingDecoder):
            return not scan.facts
        try:
            self._dataset.decode.problems(scan.facts, {})
        except (ValueError, TypeError):
            return False
        return True

    def store(self, scan: LabelScan) -> None:
        """Write a scan; a cache folder that cannot be written is only logged."""
        document = {
            'labels': scan.labels,
            'pixels': scan.pixels.tolist(),
            'images': scan.images.tolist(),
            'facts': scan.facts,
        }
        try:
            cache_entries.write(self._path(), document)
        except UserError as error:
            LOG.info('%s; the next run counts the classes again', error)

    def _path(self) -> Path:
        dataset = self._dataset
        key = (
            CACHE_VERSION,
            __version__,
            self._skip_bad,
            dataset.info.name,
            str(dataset.root and dataset.root.resolve()),
            dataset.info.classes,
            _identity(dataset.decode),
            [(str(path), *_size_and_time(path)) for path in dataset.label_files()],
            [sample.key.hex() for sample in dataset if sample.key is not None],
        )
        digest = hashlib.sha256(repr(key).encode(errors='surrogateescape')).hexdigest()
        return files.cache_folder() / 'labels' / f'{digest}.scan'


def _identity(decode: Callable[..., np.ndarray] | None) -> Sequence[object]:
    """Return what a decoder's results depend on: its code and, for an object, its fields."""
    if decode is None:  # packed labels are decoded
        return ()
    function = inspect.isfunction(decode)
    code = decode if function else type(decode)
    try:
        source = inspect.getsourcefile(code)
    except TypeError:  # of an extension or an interactive session
        source = None
    state = '' if function else repr(decode)
    return code.__qualname__, state, source, _size_and_time(Path(source)) if source else None


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return size and modification time of a file; zeros if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
