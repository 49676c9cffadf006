"""A conventional loading pipeline, for the loader benchmark and as a reference in tests.

OpenCV and Pillow decode the files, the whole image is resized before the crop, and every step
allocates a new array. The augmentation is Sony's (see
:mod:`datasets.loading.augmentations.scale_crop`).
"""

import cv2
import numpy as np
from PIL import Image

from datasets.info import IGNORE
from datasets.loading.augmentations import ScaleCrop


def read(image_path, label_path) -> tuple[np.ndarray, np.ndarray]:
    """Read a BGR image (H, W, 3) and its class indices (H, W), both ``uint8``."""
    with Image.open(label_path) as label:
        return cv2.imread(str(image_path)), np.array(label)


def augmented(
    image: np.ndarray,
    label: np.ndarray,
    settings: ScaleCrop,
    rng: np.random.RandomState,
    mean,
    std,
) -> tuple[np.ndarray, np.ndarray]:
    """Scale, crop, flip, distort, normalise and pad one sample.

    Args:
        image: (H, W, 3) uint8, BGR.
        label: (H, W) uint8, class indices.
        settings: The augmentation.
        rng: Source of all random choices.
        mean: Mean of each channel, RGB.
        std: Standard deviation of each channel, RGB.

    Returns:
        The image, (3, height, width) float32, RGB, and the label, (1, height, width) int32 with -1
        for ignored pixels.
    """
    low, high = settings.scale
    height = int(image.shape[0] * (rng.random_sample() * (high - low) + low))
    width = round(height * image.shape[1] / image.shape[0])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)

    window = crop_window(label.shape, settings.size, rng)
    for _ in range(settings.tries):
        classes, counts = np.unique(label[window], return_counts=True)
        counts = counts[classes != IGNORE]
        if len(counts) > 1 and counts.max() / counts.sum() < settings.category_ratio:
            break
        window = crop_window(label.shape, settings.size, rng)
    image, label = image[window], label[window]
    if rng.rand() < settings.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    if settings.distort:
        image = distorted(np.ascontiguousarray(image), rng)

    rgb = image[..., ::-1].astype(np.float32)
    rgb = (rgb - np.float32(mean)) / np.float32(std)
    below, right = (n - m for n, m in zip(settings.size, label.shape))
    rgb = np.pad(rgb, ((0, below), (0, right), (0, 0)))
    label = np.pad(label, ((0, below), (0, right)), constant_values=settings.pad_label)
    label = label.astype(np.int32)
    label[label == IGNORE] = -1
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)), label[None]


def crop_window(shape, size, rng) -> tuple[slice, slice]:
    """Return the rows and columns of a random crop."""
    starts = [rng.randint(0, max(n - crop, 0) + 1) for n, crop in zip(shape, size)]
    rows, columns = (slice(start, start + crop) for start, crop in zip(starts, size))
    return rows, columns


def distorted(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of a ``uint8`` BGR image (H, W, 3)."""

    def linear(values, factor=1.0, offset=0.0):
        return np.clip(values.astype(np.float32) * factor + offset, 0, 255).astype(np.uint8)

    if rng.randint(2):
        image = linear(image, offset=rng.uniform(-32, 32))
    contrast_first = rng.randint(2)
    if contrast_first and rng.randint(2):
        image = linear(image, rng.uniform(0.5, 1.5))
    if rng.randint(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 1] = linear(hsv[..., 1], rng.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if rng.randint(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + rng.randint(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not contrast_first and rng.randint(2):
        image = linear(image, rng.uniform(0.5, 1.5))
    return image
