"""short_sides, of CSAIL's networks: whole images, resized to a shorter side drawn per batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.sections import config_key
from datasets.keys import SizeMultipleKeys
from datasets.loading.augmentations.registry import Augmentation, AugmentationKeys
from datasets.loading.resample import View
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class ShortSidesKeys(AugmentationKeys, SizeMultipleKeys):
    """Keys of short_sides, the augmentation of CSAIL's networks."""

    short_sides: tuple[int, ...] = config_key(
        meaning='lengths of the shorter side in pixels; each batch draws one', least=1
    )
    max_side: int = config_key(1000, 'largest length of the longer side in pixels', least=1)


@dataclass(frozen=True)
class ShortSides:
    """CSAIL's transform: pad whole images, whose shorter sides have a length drawn for the batch.

    CSAILVision/semantic-segmentation-pytorch, mit_semseg/dataset.py (TrainDataset) at 8f27c9b9.
    A batch contains only portraits or only landscapes.

    Attributes:
        lengths: Lengths of the shorter side in pixels to draw from.
        longest: Largest length of the longer side in pixels.
        divisor: Height and width of a batch are multiples of this.
        flip: Probability of mirroring.
        distort: Whether to change the colours.
        pad_label: Label of pixels outside the image.
    """

    lengths: tuple[int, ...]
    longest: int = ShortSidesKeys.max_side
    divisor: int = ShortSidesKeys.size_multiple
    flip: float = ShortSidesKeys.flip
    distort: bool = ShortSidesKeys.photometric_distortion
    pad_label: int = ShortSidesKeys.pad_label
    by_aspect: ClassVar[bool] = True

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Draw the length of the shorter sides and return the batch that fits all images.

        Args:
            sizes: Height and width of each image.
            rng: Random numbers of this batch.
        """
        short = self.lengths[rng.randint(len(self.lengths))]
        resized = [self._resized(size, short) for size in sizes]
        height, width = (self._rounded(max(lengths)) for lengths in zip(*resized))
        return Batch((height, width), short)

    def largest(self) -> Batch:
        """Return a batch of the largest possible size."""
        short = min(max(self.lengths), self.longest)
        return Batch((self._rounded(short), self._rounded(self.longest)), short)

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Draw the flip; return a view of the whole image, resized to fit into the batch."""
        size = self._resized(label.shape, batch.short)
        size = _scaled(size, min(1, *(most / length for most, length in zip(batch.size, size))))
        return View(size, 0, 0, *size, flip=bool(rng.rand() < self.flip), smooth=True)

    def _rounded(self, length: int) -> int:
        return -(-length // self.divisor) * self.divisor

    def _resized(self, size: tuple[int, ...], short: int) -> tuple[int, int]:
        return _scaled(size, min(short / min(size), self.longest / max(size)))


def _scaled(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    height, width = (max(1, int(length * scale)) for length in size)
    return height, width


def make_short_sides(keys: ShortSidesKeys) -> ShortSides:
    """Make the transform of a config section."""
    return ShortSides(
        lengths=keys.short_sides,
        longest=keys.max_side,
        divisor=keys.size_multiple,
        flip=keys.flip,
        distort=keys.photometric_distortion,
        pad_label=keys.pad_label,
    )


AUGMENTATION = Augmentation('short_sides', ShortSidesKeys, make_short_sides)
