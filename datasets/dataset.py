"""A split of a data set: a sequence of samples, each read on demand."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from common.errors import InputError
from common.log import LOG
from common.tasks import CLASSES, Task
from datasets import orientation, pixel_limit, scenes
from datasets.decoding import decoding
from datasets.image_files import checked_size, image_size, read_image
from datasets.info import DataError, DatasetInfo
from datasets.keys import DEFAULT_READING, ImageReading
from datasets.label_values import check_range
from datasets.samples import Sample, UnusedFile, count_of, describe_unused, regular_file


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
        tasks: The tasks with a target for each sample; () for the label alone. The label is the
            target of the first task with classes, and ``info`` has its classes.
        decoders: For each task a function that reads a target file: class indices as ``decode``
            does, or depth in metres, (H, W) float32, with 0 for unknown.
        flow: For each picture of a sample whether it is optical flow, see
            :mod:`datasets.optical_flow`.
    """

    info: DatasetInfo
    split: str
    samples: tuple[Sample, ...]
    decode: Callable[..., np.ndarray]
    reading: ImageReading = DEFAULT_READING
    unused: tuple[UnusedFile, ...] = field(default=(), kw_only=True, repr=False, compare=False)
    root: Path | None = field(default=None, kw_only=True, compare=False)
    tasks: tuple[Task, ...] = field(default=(), kw_only=True)
    decoders: tuple[tuple[str, Callable[[Path], np.ndarray]], ...] = field(
        default=(), kw_only=True, repr=False
    )
    flow: tuple[bool, ...] = field(default=(False,), kw_only=True)

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

    def of_task(self, task: str) -> 'Dataset':
        """Return the images with the class maps of one task as labels, and without other targets.

        Raises:
            DataError: It is no task with classes of this data set.
        """
        kinds = {each.name: each.kind for each in self.tasks}
        if kinds.get(task, CLASSES) != CLASSES:
            raise DataError(f'tasks: {task} is depth and has no classes')
        info, decode = self.info.of_task(task), self.decode
        samples = self.samples
        if task != self.info.task:
            decode = dict(self.decoders)[task]
            samples = tuple(replace(each, label=each.target(task), key=None) for each in samples)
        return replace(
            self,
            info=info,
            samples=tuple(
                replace(each, pictures=(), targets=(), companions=()) for each in samples
            ),
            decode=decode,
            tasks=(),
            decoders=(),
            flow=(False,),
        )

    def describe(self) -> str:
        """Return the numbers of samples and of unused files: ``9 pairs; 1 not used: NAME``."""
        if self.tasks or len(self.flow) > 1:
            return scenes.describe(self) + describe_unused(self.unused, self.root)
        labelled = sum(sample.label is not None for sample in self.samples)
        bare = len(self.samples) - labelled
        parts = [count_of(labelled, 'pair')] if labelled or not bare else []
        parts += [count_of(bare, 'image') + ' without a label'] if bare else []
        return ' and '.join(parts) + describe_unused(self.unused, self.root)

    def log_counts(self) -> None:
        """Log :meth:`describe`, as a warning if files are not used."""
        level = logging.WARNING if self.unused else logging.INFO
        LOG.log(level, '%s %s: %s', self.info.name, self.split, self.describe())

    def image(self, index: int) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, BGR, or k pictures stacked, (H, W, 3k).

        Pictures of other sizes are resized to that of the camera image ``Sample.image``, so
        :meth:`pictures` is more exact. Raises ``InputError``.
        """
        if self.samples[index].pictures:
            return scenes.stacked(self, index, self.pictures(index))
        return read_image(regular_file(self.samples[index].image), self.reading)

    def pictures(self, index: int) -> tuple[np.ndarray, ...]:
        """Return all pictures of a sample in the network's order; raises ``InputError``.

        Returns:
            Arrays (H, W, 3) uint8, BGR. Sizes can differ, shapes agree. A picture of optical flow
            has the confidence, v + 128 and u + 128 as blue, green and red.
        """
        if self.samples[index].pictures:
            return scenes.read_pictures(self, index)
        return (self.image(index),)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the image at the lowest cost; raises ``InputError``."""
        return image_size(regular_file(self.samples[index].image), self.reading)

    def orientation(self, index: int) -> int:
        """Return the EXIF orientation of an image, 1 to 8; 1 is that of an image as stored."""
        return orientation.of_file(regular_file(self.samples[index].image))

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
        return self.decode_file(sample.label, self.decode, sample.key)

    def decode_file(
        self, path: Path, decode: Callable[..., np.ndarray], key: bytes | None = None
    ) -> tuple[np.ndarray, str | None]:
        """Return a label or target and its fact as :meth:`decoded` does; raises ``InputError``.

        Args:
            path: The file.
            decode: The function that reads it.
            key: The key of its sample.
        """
        regular_file(path)
        with decoding(path), pixel_limit.labels_up_to(self.reading.max_pixels):
            if isinstance(decode, JudgingDecoder):
                return decode.read(path)
            return decode(path, *([] if key is None else [key])), None

    def examined(self, index: int) -> tuple[np.ndarray, str | None]:
        """Return :meth:`label` with its fact, see :meth:`decoded`; raises ``InputError``."""
        labels, fact = self.decoded(index)
        check_range(labels, len(self.info.classes), self.samples[index].label)
        return labels, fact

    def label(self, index: int) -> np.ndarray:
        """Return class indices, (H, W) uint8, 255 for ignored pixels; raises ``InputError``."""
        return self.examined(index)[0]

    def target(self, index: int, task: str) -> np.ndarray:
        """Return the target of a task; raises ``InputError``.

        Returns:
            Class indices, (H, W) uint8, 255 for ignored pixels; or of a depth task metres, (H, W)
            float32, 0 for unknown pixels.
        """
        if task == self.info.task and self.info.classes:
            return self.label(index)
        return scenes.read_target(self, index, task)

    def scene(self, index: int) -> 'scenes.Scene':
        """Return the pictures and targets of a sample, with equal sizes; raises ``InputError``."""
        return scenes.read(self, index)

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

    def check_sizes(
        self,
        index: int,
        image: tuple[int, ...],
        label: tuple[int, ...],
        file: Path | None = None,
    ):
        """Raise ``InputError`` if an image and its label, or another target, differ in size.

        Args:
            index: Index of the sample, for the message.
            image: (height, width) of the image.
            label: (height, width) of the label.
            file: The file of the target; None for the label.
        """
        if tuple(image) != tuple(label):
            sample = self.samples[index]
            raise InputError(
                f'{file or sample.label}: {label[1]}x{label[0]} pixels, but its image '
                f'{sample.image} has {image[1]}x{image[0]}; '
                f'{self._reason_of_sizes(index, image, label)}'
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
