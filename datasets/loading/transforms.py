"""The interface of training transforms, and the steps that they share: colours and normalisation.

A transform draws a view: the size of the resized image, and the window of it to use.
:mod:`datasets.loading.augmentations` contains the transforms; :mod:`datasets.loading.resample`
computes the pixels of the view. Colour distortion, normalisation and padding follow. All random
numbers come from the ``rng`` argument.

Images are (H, W, 3) uint8, BGR; labels are (H, W) uint8 class indices with 255 for ignored pixels.
One view serves all pictures and targets of a scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np

from datasets.loading.resample import View


@dataclass(frozen=True)
class Batch:
    """The properties that all samples of a batch share.

    Attributes:
        size: (height, width) in pixels.
        short: Length of each image's shorter side in pixels, if the transform draws one for the
            batch; otherwise 0.
    """

    size: tuple[int, int]
    short: int = 0


class Transform(Protocol):
    """The interface between the loader and a transform; workers receive it pickled."""

    @property
    def distort(self) -> bool:
        """Whether to change the colours with :func:`distort`."""

    @property
    def pad_label(self) -> int:
        """The label of pixels outside the image."""

    @property
    def by_aspect(self) -> bool:
        """Whether batches contain only portraits or only landscapes and differ in size.

        Otherwise all batches have the size of :meth:`largest`.
        """

    def largest(self) -> Batch:
        """Return a batch of the largest possible size."""

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Draw the properties that all samples of a batch share.

        Args:
            sizes: Height and width of each image; empty unless ``by_aspect``.
            rng: Random numbers of this batch.
        """

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Draw the view of an image; its window is no larger than the batch.

        Args:
            label: (H, W) uint8, class indices of the first task that has classes; without one, all
                pixels are ignored.
            rng: Random numbers of this sample.
            batch: The batch of this sample.
        """


def distort(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each with probability one half.

    The draws and the pixels are those of Sony's photometric_distortion, in the file that ScaleCrop
    names. Every step maps single values, so a lookup table of 256 entries computes it.

    Args:
        image: (H, W, 3) uint8, BGR.
        rng: Random numbers of this sample.

    Returns:
        (H, W, 3) uint8, BGR.
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
    """Convert an image into a network input, (x - mean) / std.

    The results are rounded as in the published code: mean and std are converted to float32 first,
    and OpenCV subtracts the mean and multiplies by 1 / std. It computes each of the 256 values
    once.

    Args:
        image: (H, W, 3) uint8, BGR, or float32 as resized optical flow is.
        mean: Mean of each channel, in ``channel_order``.
        std: Standard deviation of each channel, in ``channel_order``.
        channel_order: ``rgb`` or ``bgr``.
        out: (3, H, W) float32, an array to write into.

    Returns:
        (3, H, W) float32; ``out`` if it is passed.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    planes = cv2.split(image)
    planes = planes[::-1] if channel_order == 'rgb' else planes
    if image.dtype != np.uint8:
        for plane, middle, width, target in zip(planes, mean, std, out, strict=True):
            target[...] = (plane - np.float32(middle)) * (1 / np.float64(np.float32(width)))
        return out
    table = _normalised_values(tuple(mean), tuple(std))
    for plane, values, target in zip(planes, table, out, strict=True):
        target[...] = cv2.LUT(plane, values)
    return out


@lru_cache(maxsize=8)
def _normalised_values(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return the normalised values for 0 to 255 in each channel, (3, 256) float32."""
    values = np.arange(256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    means, stds = (np.array([numbers], np.float32).astype(np.float64) for numbers in (mean, std))
    table = cv2.multiply(cv2.subtract(values, means), 1 / stds)
    return np.ascontiguousarray(table[0].T)


def _linear(factor: float, offset: float) -> np.ndarray:
    """Return the table of factor * x + offset, clipped to 0 .. 255 and truncated, (256,) uint8."""
    values = np.arange(256, dtype=np.float32) * factor + offset
    return np.clip(values, 0, 255).astype(np.uint8)


def _in_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """Apply a table to hue (channel 0), saturation (1) or value (2) of a BGR image."""
    tables = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    tables[0, :, channel] = table
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
