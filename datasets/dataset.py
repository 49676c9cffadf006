"""A split of a data set: a sequence of samples, each read on demand."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from common.errors import InputError
from common.log import LOG
from common.terminal.name_list import first_names
from datasets import orientation, pixel_limit
from datasets.decoding import decoding
from datasets.image_files import checked_size, image_size, read_image
from datasets.info import IGNORE, DatasetInfo
from datasets.keys import DEFAULT_READING, ImageReading

NO_LABEL, NO_IMAGE = 'no label', 'a label without an image'  # reasons why a file is not used
NOT_READ = 'its ending is not read'
NOT_LISTED = 'in no list'


@dataclass(frozen=True)
class Sample:
    """An image file and its label file.

    Attributes:
        name: Unique name in the data set, without file extension. Results are written under it, so
            it may contain folders (``frankfurt/frankfurt_000000_000294``).
        image: The image file.
        label: The label file; None in a split without labels.
        key: Outlines of the objects in this image, if one label file holds those of many images;
            otherwise None.
    """

    name: str
    image: Path
    label: Path | None
    key: bytes | None = None


@runtime_checkable
class JudgingDecoder(Protocol):
    """A ``decode`` that can tell from all label files of a split what one file does not show."""

    def read(self, path: Path) -> tuple[np.ndarray, str]:
        """Return what ``decode`` returns, and a text that says what is to be judged.

        Equal files give equal texts.
        """

    def problems(
        self, facts: Mapping[str, tuple[int, str]], others: Mapping[str, tuple[int, str]]
    ) -> list[tuple[Path, str]]:
        """Return the label files that do not fit the others, each with a line that describes it.

        Args:
            facts: For each text of :meth:`read` the number of files, and the path of the first one.
            others: Those of other splits, to compare with; their own problems are left out.
        """


@dataclass(frozen=True)
class UnusedFile:
    """A file among the images or labels of a data set that no sample uses.

    Attributes:
        path: The file.
        reason: Why it is not used, in a few words, such as ``NO_LABEL``.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class FoundSamples(Sequence[Sample]):
    """The samples that a reader finds, and the files beside them that it does not use.

    Attributes:
        samples: The samples in order.
        unused: The files that are not used.
    """

    samples: tuple[Sample, ...]
    unused: tuple[UnusedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def with_unused(self, files: Iterable[UnusedFile]) -> 'FoundSamples':
        """Return the same samples with further unused files."""
        return FoundSamples(self.samples, (*self.unused, *files))


Split = TypeVar('Split', bound='Dataset')


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """The samples of a split and the function that reads their labels.

    A data set can be pickled, so that worker processes can read it as well. They do not receive
    ``unused``, which can be long.

    Attributes:
        info: Classes, colours and layout of the data set.
        split: Name of the split.
        samples: The samples in order.
        decode: Function that reads a label file as class indices, (H, W) uint8, with 255 for
            ignored pixels. Its arguments are the path and, if the sample has one, its key.
        reading: How image files are read, and how large labels may be.
        unused: The files of the split's folders that no sample uses.
        root: The folder of the data set; names of unused files are relative to it.
    """

    info: DatasetInfo
    split: str
    samples: tuple[Sample, ...]
    decode: Callable[..., np.ndarray]
    reading: ImageReading = DEFAULT_READING
    unused: tuple[UnusedFile, ...] = field(default=(), kw_only=True, repr=False, compare=False)
    root: Path | None = field(default=None, kw_only=True, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'unused': ()}

    def __len__(self) -> int:
        return len(self.samples)

    # Slices are not supported: no caller needs them.
    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def part(self: 'Split', indices: Iterable[int]) -> 'Split':
        """Return the data set with some of its samples only."""
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def describe(self) -> str:
        """Return the numbers of samples and of unused files: ``9 pairs; 1 not used: NAME``."""
        labelled = sum(sample.label is not None for sample in self.samples)
        bare = len(self.samples) - labelled
        parts = [_count(labelled, 'pair')] if labelled or not bare else []
        parts += [_count(bare, 'image') + ' without a label'] if bare else []
        return ' and '.join(parts) + describe_unused(self.unused, self.root)

    def log_counts(self) -> None:
        """Log :meth:`describe`, as a warning if files are not used."""
        level = logging.WARNING if self.unused else logging.INFO
        LOG.log(level, '%s %s: %s', self.info.name, self.split, self.describe())

    def image(self, index: int) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, BGR; raises ``InputError``."""
        return read_image(_file(self.samples[index].image), self.reading)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the image at the lowest cost; raises ``InputError``."""
        return image_size(_file(self.samples[index].image), self.reading)

    def orientation(self, index: int) -> int:
        """Return the EXIF orientation of an image, 1 to 8; 1 is that of an image as stored."""
        return orientation.of_file(_file(self.samples[index].image))

    def decoded(self, index: int) -> tuple[np.ndarray, str | None]:
        """Return the label, (H, W) uint8, without a check of its values, and its fact.

        The fact is for :meth:`JudgingDecoder.problems`; it is None if every label file of the data
        set has its meaning alone.

        Raises:
            InputError: The label cannot be used.
        """
        sample = self.samples[index]
        if sample.label is None:
            raise InputError(f'{sample.image}: the split {self.split} has no labels')
        _file(sample.label)
        with decoding(sample.label), pixel_limit.labels_up_to(self.reading.max_pixels):
            if isinstance(self.decode, JudgingDecoder):
                return self.decode.read(sample.label)
            return self.decode(sample.label, *([] if sample.key is None else [sample.key])), None

    def examined(self, index: int) -> tuple[np.ndarray, str | None]:
        """Return :meth:`label` with its fact, see :meth:`decoded`; raises ``InputError``."""
        labels, fact = self.decoded(index)
        check_range(labels, len(self.info.classes), self.samples[index].label)
        return labels, fact

    def label(self, index: int) -> np.ndarray:
        """Return class indices, (H, W) uint8, 255 for ignored pixels; raises ``InputError``."""
        return self.examined(index)[0]

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image and label, which have the same size; raises ``InputError``."""
        return self.examined_pair(index)[:2]

    def examined_pair(self, index: int) -> tuple[np.ndarray, np.ndarray, str | None]:
        """Return :meth:`pair` with the fact of the label, see :meth:`decoded`."""
        image, (label, fact) = self.image(index), self.examined(index)
        self.check_sizes(index, image.shape[:2], label.shape)
        return image, label, fact

    def label_files(self) -> list[Path]:
        """Return the files with the labels, each once."""
        return list(dict.fromkeys(sample.label for sample in self.samples if sample.label))

    def check(self, index: int) -> tuple[np.ndarray, str | None]:
        """Return :meth:`examined`, or raise ``InputError`` where :meth:`pair` would, at low cost.

        A PNG image is not decoded, because its checksums show damage. Other formats, such as JPEG,
        are decoded, because their header does not show that the file is truncated.
        """
        size = checked_size(self.samples[index].image, self.reading)
        labels, fact = self.examined(index)
        self.check_sizes(index, size, labels.shape)
        return labels, fact

    def check_sizes(self, index: int, image: tuple[int, ...], label: tuple[int, ...]):
        """Raise ``InputError`` if an image and its label differ in size.

        Args:
            index: Index of the sample, for the message.
            image: (height, width) of the image.
            label: (height, width) of the label.
        """
        if tuple(image) != tuple(label):
            sample = self.samples[index]
            raise InputError(
                f'{sample.label}: {label[1]}x{label[0]} pixels, but its image {sample.image} has '
                f'{image[1]}x{image[0]}; {self._reason_of_sizes(index, image, label)}'
            )

    def _reason_of_sizes(self, index: int, image: tuple[int, ...], label: tuple[int, ...]) -> str:
        """Return why an image and its label can differ in size, with the remedy."""
        turn = self.orientation(index)
        if tuple(image) != tuple(label)[::-1] or turn not in orientation.EXCHANGING:
            return 'they do not belong together'
        if self.reading.turns:
            return (
                f'its EXIF orientation {turn} turns the image and not its label: if labels were '
                'drawn on the stored pixels, set exif_orientation: ignore (--exif-orientation '
                'ignore in python -m datasets.prepare)'
            )
        return (
            f'exif_orientation: ignore keeps the image as stored, although its EXIF orientation '
            f'is {turn}: if labels were drawn on the image as viewers show it, omit the key'
        )


def _file(path: Path) -> Path:
    """Return a path; raise ``InputError`` for a pipe or a device, whose reader could wait forever.

    A missing file is left to its reader.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return path
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f'{path}: cannot be read: is a pipe or a device, not a regular file')
    return path


def describe_unused(unused: Sequence[UnusedFile], root: Path | None) -> str:
    """Return ``; 37 not used: `` with the first names and reasons; empty if all files are used.

    Args:
        unused: The files.
        root: The folder to which the names are relative; None for absolute names.
    """
    if not unused:
        return ''
    seen: Counter[str] = Counter()
    places = []
    for number, file in enumerate(unused):  # the first file of every reason comes first
        places.append((seen[file.reason], number))
        seen[file.reason] += 1
    names = []
    for _, number in sorted(places):
        path, reason = unused[number].path, unused[number].reason
        inside = root is not None and path.is_relative_to(root)
        names.append(f'{path.relative_to(root) if inside and root else path} ({reason})')
    return f'; {len(unused)} not used: {first_names(names)}'


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}{"" if number == 1 else "s"}'


def check_range(labels: np.ndarray, num_classes: int, path: Path | None):
    """Raise ``InputError`` unless all values are classes or 255.

    NNabla reads out of bounds for any other value.

    Args:
        labels: (H, W) uint8, class indices; 255 for ignored pixels.
        num_classes: Number of classes.
        path: The label file, for the message.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    wrong = np.flatnonzero(counts[num_classes:IGNORE]) + num_classes
    if wrong.size:
        raise InputError(
            f'{path}: holds the values {", ".join(map(str, wrong[:5]))}, but there are '
            f'{num_classes} classes, 0 to {num_classes - 1}, and 255 for ignored pixels; '
            'is it a label file of this data set?'
        )


def to_network(labels: np.ndarray, num_classes: int, path: Path) -> np.ndarray:
    """Return class indices for NNabla's losses: int32, -1 for ignored pixels.

    This is the only way from a label map to a network.

    Args:
        labels: (H, W) uint8, class indices; 255 for ignored pixels.
        num_classes: Number of classes.
        path: The label file, for the message.

    Raises:
        InputError: A value is neither a class nor 255.
    """
    check_range(labels, num_classes, path)
    return np.where(labels == IGNORE, -1, labels.astype(np.int32))
