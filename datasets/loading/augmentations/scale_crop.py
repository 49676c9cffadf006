"""scale_crop, of Sony's D3Net: a random scale, a crop without a class that covers it, colours."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from common.sections import config_key
from datasets.info import IGNORE
from datasets.loading.augmentations.crop import Crop, CropKeys
from datasets.loading.augmentations.registry import Augmentation
from datasets.loading.resample import View, resample_label
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class ScaleCropKeys(CropKeys):
    """A random scale and a crop, as Sony's D3Net has them."""

    photometric_distortion: bool = True
    base_size: tuple[int, int] | None = config_key(
        None,
        'sides that the scale refers to, in pixels',
        least=1,
        default_text="the image's own",
    )
    category_ratio: float = config_key(
        0.75, 'share of a crop that one class may take', above=0, most=1
    )


@dataclass(frozen=True)
class ScaleCrop(Crop):
    """Sony's: a random scale, a crop of which no class takes up too much, a flip, colours.

    sony/ai-research-code, d3net/semantic-segmentation/image_preprocess.py at cfe96dfe. With the
    same ``RandomState`` the draws are the same. size: of the crop, (height, width).
    category_ratio: a crop in which one class has at least this share of the labelled pixels, or is
    alone, is drawn again, up to ``tries`` times. base: the shorter and the longer side to which the
    scale refers; the image becomes as large as it can between them times the scale, as
    mmsegmentation's Resize makes it with ``img_scale`` and ``ratio_range``. By default they are the
    image's own.

    Differs from the original: the aspect ratio is kept, where the original makes every image twice
    as wide as high (the same for the 2:1 images of Cityscapes); labels are padded as ignored, where
    the original pads them with class 0 (``pad_label=0``).
    """

    scale: tuple[float, float] = (0.5, 2.0)
    category_ratio: float = 0.75
    flip: float = 0.5
    distort: bool = True
    pad_label: int = IGNORE
    tries: int = 10
    base: tuple[int, int] | None = None

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Return where to crop; draws the scale, the window, the flip."""
        low, high = self.scale
        size = self._resized(label.shape, rng.random_sample() * (high - low) + low)
        view = self._window(size, rng)
        for _ in range(self.tries if self.category_ratio < 1 else 0):
            counts = _class_counts(resample_label(label, view))
            if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.category_ratio:
                break
            view = self._window(size, rng)
        return replace(view, flip=bool(rng.rand() < self.flip))

    def _resized(self, size: tuple[int, ...], factor: float) -> tuple[int, int]:
        if self.base is None:
            height = max(1, int(size[0] * factor))
            return height, max(1, round(height * size[1] / size[0]))
        short, long = (int(length * factor) for length in sorted(self.base))
        scale = min(short / min(size), long / max(size))
        height, width = (max(1, int(length * scale + 0.5)) for length in size)
        return height, width

    def _window(self, size: tuple[int, int], rng: np.random.RandomState) -> View:
        top, left = (
            rng.randint(0, max(length - crop, 0) + 1) for length, crop in zip(size, self.size)
        )
        height, width = map(min, size, self.size)
        return View(size, top, left, height, width)


def _class_counts(labels: np.ndarray) -> np.ndarray:
    return cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()[:IGNORE]


def make_scale_crop(keys: ScaleCropKeys) -> ScaleCrop:
    """Return the transform of a config."""
    return ScaleCrop(
        size=(keys.image_height, keys.image_width),
        scale=keys.crop_scales,
        category_ratio=keys.category_ratio,
        flip=keys.flip,
        distort=keys.photometric_distortion,
        pad_label=keys.pad_label,
        base=keys.base_size,
    )


AUGMENTATION = Augmentation('scale_crop', ScaleCropKeys, make_scale_crop)
