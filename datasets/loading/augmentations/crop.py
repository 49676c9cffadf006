"""What augmentations that crop share: all batches have one size."""

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

    image_height: int = config_key(meaning='height of the crop in pixels', least=1)
    image_width: int = config_key(meaning='width of the crop in pixels', least=1)
    crop_scales: tuple[float, float] = config_key(
        (0.5, 2.0), 'least and greatest factor of the size before the crop', above=0
    )


@dataclass(frozen=True)
class Crop:
    """A transform whose batches all have the ``size`` (height, width) of its crops."""

    size: tuple[int, int]
    by_aspect: ClassVar[bool] = False

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Return a batch of crops; draws nothing."""
        return self.largest()

    def largest(self) -> Batch:
        """Return a batch of crops."""
        return Batch(self.size)
