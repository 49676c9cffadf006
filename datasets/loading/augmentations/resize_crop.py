"""resize_crop, of TI's EdgeAI-Lite: resize to one size, enlarge half the images, and crop."""

from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.sections import config_key
from datasets.loading.augmentations.crop import Crop, CropKeys
from datasets.loading.augmentations.registry import Augmentation
from datasets.loading.resample import View
from datasets.loading.transforms import Batch


@dataclass(frozen=True, kw_only=True)
class ResizeCropKeys(CropKeys):
    """Keys of resize_crop, the augmentation of TI's networks."""

    crop_scales: tuple[float, float] = (1.0, 2.0)
    resize_height: int = config_key(
        meaning='height before the crop in pixels', least=1, most=1 << 15
    )
    resize_width: int = config_key(meaning='width before the crop in pixels', least=1, most=1 << 15)
    rotation: float = config_key(0.0, 'largest angle in degrees', least=0, most=180)
    interpolation: str = config_key(
        'area', 'interpolation of images that shrink', choices=('area', 'linear')
    )


@dataclass(frozen=True)
class ResizeCrop(Crop):
    """TI's transform: rotate half the images, resize all to one size, enlarge half, crop and flip.

    TexasInstruments/edgeai-torchvision, references/edgeailite/edgeai_xvision/xvision/transforms/
    image_transforms.py (RandomRotate, RandomScaleCrop, RandomHorizontalFlip, RandomCrop) and
    xengine/train_pixel2pixel.py (get_train_transform) at f85ec314. The aspect ratio is not kept.

    Differs from the original: the last possible offset of the second crop can be drawn; pixels
    that rotation moves in from outside the image are ignored in the label, not class 0.

    Attributes:
        size: (height, width) of the crop.
        resize: (height, width) of the resized image. With probability one half, each side is first
            multiplied by a factor of its own, and a window of the size ``resize`` is taken from the
            enlarged image.
        scale: Smallest and largest of these factors.
        flip: Probability of mirroring.
        distort: Whether to change the colours.
        pad_label: Label of pixels outside the image.
        rotation: Largest angle in degrees. Images are rotated with probability one half.
        interpolation: ``area`` to average images if a side shrinks, or ``linear``.
    """

    resize: tuple[int, int]
    scale: tuple[float, float] = ResizeCropKeys.crop_scales
    flip: float = ResizeCropKeys.flip
    distort: bool = ResizeCropKeys.photometric_distortion
    pad_label: int = ResizeCropKeys.pad_label
    rotation: float = ResizeCropKeys.rotation
    interpolation: str = ResizeCropKeys.interpolation

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
        """Draw the angle if any, the size, the first window, the flip and the second window."""
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
        # The second window is drawn inside the mirrored first one.
        left += self.resize[1] - width - from_left if flip else from_left
        area = self.interpolation == 'area'
        return View(size, top, left, height, width, bool(flip), angle=angle, area=area)


def make_resize_crop(keys: ResizeCropKeys) -> ResizeCrop:
    """Make the transform of a config section."""
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
