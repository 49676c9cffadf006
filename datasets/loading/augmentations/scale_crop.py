"""scale_crop, of Sony's D3Net: scale, crop so that no class dominates, and change the colours."""

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
    """Keys of scale_crop, the augmentation of Sony's D3Net."""

    photometric_distortion: bool = True
    base_size: tuple[int, int] | None = config_key(
        None,
        'shorter and longer side, in pixels, that the scale multiplies',
        least=1,
        default_text="the image's own",
    )
    category_ratio: float = config_key(
        0.75, 'largest share of a crop that one class may cover', above=0, most=1
    )


@dataclass(frozen=True)
class ScaleCrop(Crop):
    """Sony's transform: scale, crop so that no class dominates, flip and change the colours.

    sony/ai-research-code, d3net/semantic-segmentation/image_preprocess.py at cfe96dfe. The same
    ``RandomState`` gives the same draws as there.

    Differs from the original: the original makes every image twice as wide as high (the same for
    the 2:1 images of Cityscapes); here the aspect ratio is kept. The original pads labels with
    class 0 (``pad_label=0``); here they are padded as ignored.

    Attributes:
        size: (height, width) of the crop.
        scale: Smallest and largest factor of the image size.
        category_ratio: A crop is drawn again if one class has at least this share of its labelled
            pixels, or is the only class. If the ratio is 1, no crop is drawn again.
        flip: Probability of mirroring.
        distort: Whether to change the colours.
        pad_label: Label of pixels outside the image.
        tries: Largest number of times that a crop is drawn again.
        base: Shorter and longer side that the scale multiplies. The image is resized to the largest
            size that fits into the result, as in mmsegmentation's Resize with ``img_scale`` and
            ``ratio_range``. By default the image's own sides are multiplied.
    """

    scale: tuple[float, float] = ScaleCropKeys.crop_scales
    category_ratio: float = ScaleCropKeys.category_ratio
    flip: float = ScaleCropKeys.flip
    distort: bool = ScaleCropKeys.photometric_distortion
    pad_label: int = ScaleCropKeys.pad_label
    tries: int = 10
    base: tuple[int, int] | None = ScaleCropKeys.base_size

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Draw the scale, the window and the flip."""
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
    """Make the transform of a config section."""
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
