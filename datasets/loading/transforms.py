"""Training transforms: what each family's published code does to an image and its label.

A transform draws a view, which says how large the image becomes and which window of it is used, and
which :mod:`datasets.loading.resample` resamples; then come colours, normalisation and padding.
Every draw is from the ``rng`` that is given.

Images are ``uint8`` BGR (H, W, 3), labels ``uint8`` class indices (H, W) with 255 for ignored
pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np

from common.errors import UserError
from common.sections import Section, config_key
from datasets.info import IGNORE
from datasets.keys import SizeMultipleKeys
from datasets.loading.resample import View, resample_label


@dataclass(frozen=True)
class Batch:
    """What the samples of a batch share: height and width; the length of the shorter sides, where
    that is drawn.
    """

    size: tuple[int, int]
    short: int = 0


@dataclass(frozen=True)
class ScaleCrop:
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

    size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    category_ratio: float = 0.75
    flip: float = 0.5
    distort: bool = True
    pad_label: int = IGNORE
    tries: int = 10
    base: tuple[int, int] | None = None
    by_aspect: ClassVar[bool] = False

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Where to crop; draws the scale, the window, the flip."""
        low, high = self.scale
        size = self._resized(label.shape, rng.random_sample() * (high - low) + low)
        view = self._window(size, rng)
        for _ in range(self.tries if self.category_ratio < 1 else 0):
            counts = _class_counts(resample_label(label, view))
            if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < self.category_ratio:
                break
            view = self._window(size, rng)
        return replace(view, flip=bool(rng.rand() < self.flip))

    def _resized(self, size, factor):
        if self.base is None:
            height = max(1, int(size[0] * factor))
            return height, max(1, round(height * size[1] / size[0]))
        short, long = (int(length * factor) for length in sorted(self.base))
        scale = min(short / min(size), long / max(size))
        height, width = (max(1, int(length * scale + 0.5)) for length in size)
        return height, width

    def _window(self, size, rng) -> View:
        top, left = (
            rng.randint(0, max(length - crop, 0) + 1) for length, crop in zip(size, self.size)
        )
        return View(size, top, left, *map(min, size, self.size))


@dataclass(frozen=True)
class ResizeCrop:
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

    size: tuple[int, int]
    resize: tuple[int, int]
    scale: tuple[float, float] = (1.0, 2.0)
    flip: float = 0.5
    distort: bool = False
    pad_label: int = IGNORE
    rotation: float = 0.0
    interpolation: str = 'area'
    by_aspect: ClassVar[bool] = False

    def __post_init__(self):
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
        """Where to crop; draws the angle if there is one, the size, the first window, the flip, the
        second window.
        """
        angle, size = 0.0, self.resize
        if self.rotation:
            drawn = rng.uniform(-self.rotation, self.rotation)
            angle = drawn if rng.random_sample() < 0.5 else 0.0
        if rng.random_sample() < 0.5:
            size = tuple(round(rng.uniform(*self.scale) * length) for length in self.resize)
        top, left = (rng.randint(length - inner + 1) for length, inner in zip(size, self.resize))
        flip = rng.random_sample() < self.flip
        height, width = self.size
        from_left = rng.randint(self.resize[1] - width + 1)
        top += rng.randint(self.resize[0] - height + 1)
        # The second window is drawn in the mirrored first one.
        left += self.resize[1] - width - from_left if flip else from_left
        area = self.interpolation == 'area'
        return View(size, top, left, height, width, bool(flip), angle=angle, area=area)


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
        """The batch of images of these sizes: the largest height and width, rounded up; draws the
        length of the shorter sides.
        """
        short = self.lengths[rng.randint(len(self.lengths))]
        resized = [self._resized(size, short) for size in sizes]
        return Batch(tuple(self._rounded(max(lengths)) for lengths in zip(*resized)), short)

    def largest(self) -> Batch:
        """A batch than which none has more pixels."""
        short = min(max(self.lengths), self.longest)
        return Batch((self._rounded(short), self._rounded(self.longest)), short)

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """The whole image, no larger than the batch; draws the flip."""
        size = self._resized(label.shape, batch.short)
        size = _scaled(size, min(1, *(most / length for most, length in zip(batch.size, size))))
        return View(size, 0, 0, *size, flip=bool(rng.rand() < self.flip), smooth=True)

    def _rounded(self, length):
        return -(-length // self.divisor) * self.divisor

    def _resized(self, size, short):
        return _scaled(size, min(short / min(size), self.longest / max(size)))


Transform = ScaleCrop | ResizeCrop | ShortSides


@dataclass(frozen=True, kw_only=True)
class AugmentationKeys(Section):
    """Keys that every augmentation has."""

    augmentation: str = config_key(
        'scale_crop',
        'what is done to images and labels of a training',
        choices=('scale_crop', 'resize_crop', 'short_sides'),
    )
    flip: float = config_key(0.5, 'probability that an image is mirrored', least=0, most=1)
    photometric_distortion: bool | None = config_key(
        None,
        'random brightness, contrast, saturation and hue',
        default_text='true for scale_crop, else false',
    )
    pad_label: int = config_key(IGNORE, 'label of pixels outside of the image', least=0, most=255)


@dataclass(frozen=True, kw_only=True)
class CropKeys(AugmentationKeys):
    """Keys of augmentations that crop."""

    image_height: int = config_key(meaning='height of the crop in pixels', least=1)
    image_width: int = config_key(meaning='width of the crop in pixels', least=1)
    crop_scales: tuple[float, float] | None = config_key(
        None,
        'least and greatest factor of the size before the crop',
        above=0,
        default_text='[0.5, 2] for scale_crop, [1, 2] for resize_crop',
    )


@dataclass(frozen=True, kw_only=True)
class ScaleCropKeys(CropKeys):
    """A random scale and a crop, as Sony's D3Net has them."""

    base_size: tuple[int, int] | None = config_key(
        None,
        'sides that the scale refers to, in pixels',
        least=1,
        default_text="the image's own",
    )
    category_ratio: float = config_key(
        0.75, 'share of a crop that one class may take', above=0, most=1
    )


@dataclass(frozen=True, kw_only=True)
class ResizeCropKeys(CropKeys):
    """One size for all, half of them larger, and a crop, as TI's networks have it."""

    resize_height: int = config_key(meaning='height before the crop in pixels', least=1)
    resize_width: int = config_key(meaning='width before the crop in pixels', least=1)
    rotation: float = config_key(0.0, 'largest angle in degrees', least=0, most=180)
    interpolation: str = config_key('area', 'of images that shrink', choices=('area', 'linear'))


@dataclass(frozen=True, kw_only=True)
class ShortSidesKeys(AugmentationKeys, SizeMultipleKeys):
    """Whole images by the length of their shorter sides, as CSAIL's networks have them."""

    short_sides: tuple[int, ...] = config_key(
        meaning='lengths of the shorter side in pixels, one of which a batch draws', least=1
    )
    max_side: int = config_key(1000, 'most that the longer side has, in pixels', least=1)


def sections() -> list[type[Section]]:
    """Return the keys of all augmentations."""
    return [ScaleCropKeys, ResizeCropKeys, ShortSidesKeys]


def from_config(config: Mapping) -> Transform:
    """The training transform of a config; raises ``UserError`` for one that cannot be.

    ``augmentation`` is scale_crop (default), resize_crop or short_sides. Keys of all: ``flip``,
    ``photometric_distortion``, ``pad_label``; of the crops: ``image_height``, ``image_width``,
    ``crop_scales``; of scale_crop: ``base_size``, ``category_ratio``; of resize_crop:
    ``resize_height``, ``resize_width``, ``rotation``, ``interpolation``; of short_sides:
    ``short_sides``, ``max_side``, ``size_multiple``.
    """
    kind = config.get('augmentation', 'scale_crop')
    if kind not in KEYS:
        raise UserError(f'augmentation: must be one of {", ".join(KEYS)}, not {kind!r}')
    make, keys = KEYS[kind]
    settings = {}
    for field, names in {**keys, **COMMON_KEYS}.items():
        given = [config[name] for name in names if name in config]
        if len(given) == len(names):
            settings[field] = tuple(given) if len(names) > 1 else _immutable(given[0])
        elif field in REQUIRED:
            missing = ', '.join(name for name in names if name not in config)
            raise UserError(f'augmentation: {kind} needs {missing} too')
    return make(**settings)


CROP_KEYS = {'size': ('image_height', 'image_width'), 'scale': ('crop_scales',)}
COMMON_KEYS = {
    'flip': ('flip',),
    'distort': ('photometric_distortion',),
    'pad_label': ('pad_label',),
}
KEYS = {
    'scale_crop': (
        ScaleCrop,
        {**CROP_KEYS, 'base': ('base_size',), 'category_ratio': ('category_ratio',)},
    ),
    'resize_crop': (
        ResizeCrop,
        {
            **CROP_KEYS,
            'resize': ('resize_height', 'resize_width'),
            'rotation': ('rotation',),
            'interpolation': ('interpolation',),
        },
    ),
    'short_sides': (
        ShortSides,
        {'lengths': ('short_sides',), 'longest': ('max_side',), 'divisor': ('size_multiple',)},
    ),
}
REQUIRED = ('size', 'resize', 'lengths')


def distort(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Random brightness, contrast, saturation and hue, each with probability one half.

    Sony's photometric_distortion, same file as :class:`ScaleCrop`: the same draws and the same
    pixels. As each step maps single values, it is a table of 256.
    """
    if rng.randint(2):
        image = cv2.LUT(image, _linear(1, rng.uniform(-32, 32)))
    contrast_first = rng.randint(2)
    if contrast_first and rng.randint(2):
        image = cv2.LUT(image, _linear(rng.uniform(0.5, 1.5), 0))
    if rng.randint(2):
        image = _in_hsv(image, 1, _linear(rng.uniform(0.5, 1.5), 0))
    if rng.randint(2):
        turned = (np.arange(256) + rng.randint(-18, 18)) % 180  # OpenCV has 180 hues
        image = _in_hsv(image, 0, turned.astype(np.uint8))
    if not contrast_first and rng.randint(2):
        image = cv2.LUT(image, _linear(rng.uniform(0.5, 1.5), 0))
    return image


def normalise(
    image: np.ndarray,
    mean: Sequence[float],
    std: Sequence[float],
    channel_order: str,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A ``uint8`` BGR image (H, W, 3) as a network's input: float32 (3, H, W), (x - mean) / std.

    The subtraction and the multiplication by 1 / std round like the published code's: mean and std
    are float32 first, the arithmetic is OpenCV's, done once for each of the 256 values. mean, std:
    in ``channel_order``, rgb or bgr. out: an array of the result's shape to write into.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    table = _normalised_values(tuple(mean), tuple(std))
    planes = cv2.split(image)
    for plane, values, target in zip(
        planes[::-1] if channel_order == 'rgb' else planes, table, out, strict=True
    ):
        target[...] = cv2.LUT(plane, values)
    return out


@lru_cache(maxsize=8)
def _normalised_values(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """What each of the values 0 to 255 becomes in each channel, (3, 256)."""
    values = np.arange(256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    mean, std = (np.float64(np.float32(numbers).reshape(1, -1)) for numbers in (mean, std))
    table = cv2.multiply(cv2.subtract(values, mean), 1 / std)
    return np.ascontiguousarray(table[0].T)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (max(1, int(length * scale)) for length in size)
    return height, width


def _class_counts(labels: np.ndarray) -> np.ndarray:
    return cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()[:IGNORE]


def _linear(factor: float, offset: float) -> np.ndarray:
    """The table of factor * x + offset, cut to 0 .. 255 and to whole numbers."""
    values = np.arange(256, dtype=np.float32) * factor + offset
    return np.clip(values, 0, 255).astype(np.uint8)


def _in_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """A BGR image after a table has been applied to one of hue, saturation and value."""
    tables = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    tables[0, :, channel] = table
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def _immutable(value):
    return tuple(value) if isinstance(value, list) else value
