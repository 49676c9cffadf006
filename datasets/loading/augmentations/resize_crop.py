"""resize_crop, of TI's EdgeAI-Lite: one size for all images, half of them larger, and a crop."""

from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.sections import config_key
from datasets.info import IGNORE
from datasets.loading.augmentations.crop import Crop, CropKeys
from datasets.loading.augmentations.registry import Augmentation
from datasets.loading.resample import View
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class ResizeCropKeys(CropKeys):
    """One size for all, half of them larger, and a crop, as TI's networks have it."""

    crop_scales: tuple[float, float] = (1.0, 2.0)
    resize_height: int = config_key(meaning='height before the crop in pixels', least=1)
    resize_width: int = config_key(meaning='width before the crop in pixels', least=1)
    rotation: float = config_key(0.0, 'largest angle in degrees', least=0, most=180)
    interpolation: str = config_key('area', 'of images that shrink', choices=('area', 'linear'))


@dataclass(frozen=True)
class ResizeCrop(Crop):
    """TI's: half the images turned, all at one size, half larger, aspect ratio aside; then a crop
    and a flip.

    TexasInstruments/edgeai-torchvision, references/edgeailite/edgeai_xvision/xvision/transforms/
    image_transforms.py (RandomRotate, RandomScaleCrop, RandomHorizontalFlip, RandomCrop) and
    xengine/train_pixel2pixel.py (get_train_transform) at f85ec314. resize: what an image is resized
    to, times two factors in ``scale`` with probability one half, of which a window of that size is
    taken. size: of the crop out of that window. Both are (height, width). rotation: the largest
    angle, in degrees. interpolation: ``area``, of images of which a side shrinks, or ``linear``.

    Differs from the original: the last possible offset of the second crop can be drawn; and where
    turning leaves nothing of the image, the label is ignored, where the original has class 0.
    """

    resize: tuple[int, int]
    scale: tuple[float, float] = (1.0, 2.0)
    flip: float = 0.5
    distort: bool = False
    pad_label: int = IGNORE
    rotation: float = 0.0
    interpolation: str = 'area'

    def __post_init__(self) -> None:
        if self.scale[0] < 1:
            raise UserError(
                f'crop_scales: must be at least 1, not {self.scale[0]}: the enlarged image is '
                'cropped to resize_height and resize_width'
            )
        if any(crop > whole for crop, whole in zip(self.size, self.resize)):
            raise UserError(
                f'image_height, image_width: the crop {self.size} is larger than the resized '
                f'image {self.resize}; make resize_height and resize_width larger'
            )

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Return where to crop; draws the angle if there is one, the size, the first window, the
        flip, the second window.
        """
        angle, size = 0.0, self.resize
        if self.rotation:
            drawn = rng.uniform(-self.rotation, self.rotation)
            angle = drawn if rng.random_sample() < 0.5 else 0.0
        if rng.random_sample() < 0.5:
            height, width = (round(rng.uniform(*self.scale) * length) for length in self.resize)
            size = height, width
        top, left = (rng.randint(length - inner + 1) for length, inner in zip(size, self.resize))
        flip = rng.random_sample() < self.flip
        height, width = self.size
        from_left = rng.randint(self.resize[1] - width + 1)
        top += rng.randint(self.resize[0] - height + 1)
        # The second window is drawn in the mirrored first one.
        left += self.resize[1] - width - from_left if flip else from_left
        area = self.interpolation == 'area'
        return View(size, top, left, height, width, bool(flip), angle=angle, area=area)


def make_resize_crop(keys: ResizeCropKeys) -> ResizeCrop:
    """Return the transform of a config."""
    return ResizeCrop(
        size=(keys.image_height, keys.image_width),
        resize=(keys.resize_height, keys.resize_width),
        scale=keys.crop_scales,
        flip=keys.flip,
        distort=keys.photometric_distortion,
        pad_label=keys.pad_label,
        rotation=keys.rotation,
        interpolation=keys.interpolation,
    )


AUGMENTATION = Augmentation('resize_crop', ResizeCropKeys, make_resize_crop)
