"""short_sides, of CSAIL's networks: whole images, of which a batch draws the shorter sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.sections import config_key
from datasets.info import IGNORE
from datasets.keys import SizeMultipleKeys
from datasets.loading.augmentations.registry import Augmentation, AugmentationKeys
from datasets.loading.resample import View
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class ShortSidesKeys(AugmentationKeys, SizeMultipleKeys):
    """Whole images by the length of their shorter sides, as CSAIL's networks have them."""

    short_sides: tuple[int, ...] = config_key(
        meaning='lengths of the shorter side in pixels, one of which a batch draws', least=1
    )
    max_side: int = config_key(1000, 'most that the longer side has, in pixels', least=1)


@dataclass(frozen=True)
class ShortSides:
    """CSAIL's: every batch draws the length of the shorter sides; whole images, padded.

    CSAILVision/semantic-segmentation-pytorch, mit_semseg/dataset.py (TrainDataset) at 8f27c9b9.
    lengths: to draw from. longest: no side becomes longer. divisor: of the batch's size.
    A batch has portraits or landscapes only.
    """

    lengths: tuple[int, ...]
    longest: int = 1000
    divisor: int = 8
    flip: float = 0.5
    distort: bool = False
    pad_label: int = IGNORE
    by_aspect: ClassVar[bool] = True

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Return the batch of images of these sizes: the largest height and width, rounded up;
        draws the length of the shorter sides.
        """
        short = self.lengths[rng.randint(len(self.lengths))]
        resized = [self._resized(size, short) for size in sizes]
        height, width = (self._rounded(max(lengths)) for lengths in zip(*resized))
        return Batch((height, width), short)

    def largest(self) -> Batch:
        """Return a batch than which none has more pixels."""
        short = min(max(self.lengths), self.longest)
        return Batch((self._rounded(short), self._rounded(self.longest)), short)

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Return the whole image, no larger than the batch; draws the flip."""
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
    """Return the transform of a config."""
    return ShortSides(
        lengths=keys.short_sides,
        longest=keys.max_side,
        divisor=keys.size_multiple,
        flip=keys.flip,
        distort=keys.photometric_distortion,
        pad_label=keys.pad_label,
    )


AUGMENTATION = Augmentation('short_sides', ShortSidesKeys, make_short_sides)
