"""A split of a data set: a sequence of samples that are read one at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets.image_files import image_size, read_image
from datasets.info import IGNORE, DatasetInfo


@dataclass(frozen=True)
class Sample:
    """An image file and its label file, None where the split has no labels.

    name: unique in the data set, without ending; results are written under it, so it may contain
    folders (``frankfurt/frankfurt_000000_000294``). key: what to draw, where the label
    file has the outlines of many images.
    """

    name: str
    image: Path
    label: Path | None
    key: bytes | None = None


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """Samples and how to read them; can be pickled, so that worker processes read it too.

    decode: reads a label file as class indices, ``uint8`` (H, W), with 255 for ignored pixels. For
    samples with a key it takes that as a second argument.
    """

    info: DatasetInfo
    split: str
    samples: tuple[Sample, ...]
    decode: Callable[..., np.ndarray]

    def __len__(self) -> int:
        return len(self.samples)

    # Nobody slices a data set.
    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return self.samples[index]

    def image(self, index: int) -> np.ndarray:
        """The image as ``uint8`` BGR (H, W, 3); raises ``InputError``."""
        return read_image(self.samples[index].image)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the image, as cheaply as can be; raises ``InputError``."""
        return image_size(self.samples[index].image)

    def decoded(self, index: int) -> np.ndarray:
        """The label as it is, whatever its values; raises ``InputError``."""
        sample = self.samples[index]
        if sample.label is None:
            raise InputError(f'{sample.image}: the split {self.split} has no labels')
        return self.decode(sample.label, *([] if sample.key is None else [sample.key]))

    def label(self, index: int) -> np.ndarray:
        """Class indices, ``uint8`` (H, W), 255 where ignored; raises ``InputError``."""
        labels = self.decoded(index)
        check_range(labels, len(self.info.classes), self.samples[index].label)
        return labels

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and label, of the same height and width; raises ``InputError``."""
        image, label = self.image(index), self.label(index)
        self.check_sizes(index, image.shape[:2], label.shape)
        return image, label

    def check(self, index: int):
        """Raise ``InputError`` for what :meth:`pair` would, as cheaply as that can be found out.

        :meth:`size` reads a PNG file to its end. Of others, such as JPEG, the head does not show
        that they are truncated: they are decoded.
        """
        is_png = self.samples[index].image.suffix.lower() == '.png'
        size = self.size(index) if is_png else self.image(index).shape[:2]
        self.check_sizes(index, size, self.label(index).shape)

    def check_sizes(self, index: int, image: tuple[int, ...], label: tuple[int, ...]):
        """Raise ``InputError`` when an image and its label differ in (height, width)."""
        if tuple(image) != tuple(label):
            sample = self.samples[index]
            raise InputError(
                f'{sample.label}: {label[1]}x{label[0]} pixels, but its image {sample.image} has '
                f'{image[1]}x{image[0]}; they do not belong together'
            )


def check_range(labels: np.ndarray, num_classes: int, path: Path | None):
    """Raise ``InputError`` unless all values are classes or 255: NNabla reads out of bounds."""
    counts = np.bincount(labels.ravel(), minlength=256)
    wrong = np.flatnonzero(counts[num_classes:IGNORE]) + num_classes
    if wrong.size:
        raise InputError(
            f'{path}: holds the values {", ".join(map(str, wrong[:5]))}, but there are '
            f'{num_classes} classes, 0 to {num_classes - 1}, and 255 for ignored pixels; '
            'is it a label file of this data set?'
        )


def to_network(labels: np.ndarray, num_classes: int, path: Path) -> np.ndarray:
    """Class indices as NNabla's losses take them, int32, with -1 for ignored pixels.

    The only way from label maps to a network; raises ``InputError`` for values that are no class.
    """
    check_range(labels, num_classes, path)
    return np.where(labels == IGNORE, -1, labels.astype(np.int32))
