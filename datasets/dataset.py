"""A split of a data set: a sequence of samples, each read on demand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from common.errors import InputError
from datasets.image_files import image_size, read_image
from datasets.info import IGNORE, DatasetInfo


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

    def problems(self, facts: Mapping[str, tuple[int, str]]) -> list[tuple[Path, str]]:
        """Return the label files that do not fit the others, each with a line that describes it.

        Args:
            facts: For each text of :meth:`read` the number of files, and the path of the first one.
        """


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """The samples of a split and the function that reads their labels.

    A data set can be pickled, so that worker processes can read it as well.

    Attributes:
        info: Classes, colours and layout of the data set.
        split: Name of the split.
        samples: The samples in order.
        decode: Function that reads a label file as class indices, (H, W) uint8, with 255 for
            ignored pixels. Its arguments are the path and, if the sample has one, its key.
    """

    info: DatasetInfo
    split: str
    samples: tuple[Sample, ...]
    decode: Callable[..., np.ndarray]

    def __len__(self) -> int:
        return len(self.samples)

    # Slices are not supported: no caller needs them.
    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def image(self, index: int) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, BGR; raises ``InputError``."""
        return read_image(self.samples[index].image)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the image at the lowest cost; raises ``InputError``."""
        return image_size(self.samples[index].image)

    def decoded(self, index: int) -> np.ndarray:
        """Return the label, (H, W) uint8, without a check of its values; raises ``InputError``."""
        return self.examined(index)[0]

    def examined(self, index: int) -> tuple[np.ndarray, str | None]:
        """Return the label as :meth:`decoded` does, and its fact for ``JudgingDecoder.problems``.

        The fact is None if every label file of the data set has its meaning alone.
        """
        sample = self.samples[index]
        if sample.label is None:
            raise InputError(f'{sample.image}: the split {self.split} has no labels')
        if isinstance(self.decode, JudgingDecoder):
            return self.decode.read(sample.label)
        return self.decode(sample.label, *([] if sample.key is None else [sample.key])), None

    def label(self, index: int) -> np.ndarray:
        """Return class indices, (H, W) uint8, 255 for ignored pixels; raises ``InputError``."""
        labels = self.decoded(index)
        check_range(labels, len(self.info.classes), self.samples[index].label)
        return labels

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image and label, which have the same size; raises ``InputError``."""
        image, label = self.image(index), self.label(index)
        self.check_sizes(index, image.shape[:2], label.shape)
        return image, label

    def check(self, index: int):
        """Raise ``InputError`` where :meth:`pair` would, at the lowest cost.

        For a PNG file, :meth:`size` suffices, because it reads the whole file. Other formats, such
        as JPEG, are decoded, because their header does not show that the file is truncated.
        """
        is_png = self.samples[index].image.suffix.lower() == '.png'
        size = self.size(index) if is_png else self.image(index).shape[:2]
        self.check_sizes(index, size, self.label(index).shape)

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
                f'{image[1]}x{image[0]}; they do not belong together'
            )


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
