"""The base of augmentations that crop all images to one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common.sections import config_key
from datasets.loading.augmentations.registry import AugmentationKeys
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class CropKeys(AugmentationKeys):
    """Keys of augmentations that crop."""

    image_height: int = config_key(meaning='height of the crop in pixels', least=1, most=1 << 15)
    image_width: int = config_key(meaning='width of the crop in pixels', least=1, most=1 << 15)
    crop_scales: tuple[float, float] = config_key(
        (0.5, 2.0), 'smallest and largest factor of the size before the crop', above=0, most=100
    )


@dataclass(frozen=True)
class Crop:
    """A transform whose batches all have the size of its crops.

    Attributes:
        size: (height, width) of the crops in pixels.
    """

    size: tuple[int, int]
    by_aspect: ClassVar[bool] = False

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Return a batch of the size of the crops; draws no random numbers."""
        return self.largest()

    def largest(self) -> Batch:
        """Return a batch of the size of the crops."""
        return Batch(self.size)
