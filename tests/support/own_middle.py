"""A user's own augmentation: the enlarged middle of an image."""

from dataclasses import dataclass

import numpy as np

from common.sections import config_key
from datasets.loading import augmentations
from datasets.loading.augmentations import Augmentation
from datasets.loading.augmentations.crop import Crop, CropKeys
from datasets.loading.resample import View
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class MiddleKeys(CropKeys):
    """The keys of all crops, and the enlargement."""

    flip: float = 0.0
    middle_zoom: int = config_key(1, 'factor of the size before the crop', least=1, most=4)


@dataclass(frozen=True)
class Middle(Crop):
    """Enlarge an image ``zoom`` times and crop its middle."""

    zoom: int
    flip: float
    pad_label: int
    distort: bool

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Draw the flip; the window is always the middle."""
        size = label.shape[0] * self.zoom, label.shape[1] * self.zoom
        height, width = self.size
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        return View(size, top, left, height, width, flip=bool(rng.rand() < self.flip))


def make_middle(keys: MiddleKeys) -> Middle:
    """Make the transform of a config section."""
    size = keys.image_height, keys.image_width
    return Middle(size, keys.middle_zoom, keys.flip, keys.pad_label, keys.photometric_distortion)


augmentations.register(Augmentation('middle', MiddleKeys, make_middle))
