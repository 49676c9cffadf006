"""What training transforms are, and the steps that all of them share: colours and normalisation.

A transform (:mod:`datasets.loading.augmentations` has one a file) draws a view, which says how
large the image becomes and which window of it is used, and which :mod:`datasets.loading.resample`
resamples; then come colours, normalisation and padding. Every draw is from the ``rng`` that is
given.

Images are ``uint8`` BGR (H, W, 3), labels ``uint8`` class indices (H, W) with 255 for ignored
pixels.
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
    """What the samples of a batch share: height and width; the length of the shorter sides, where
    that is drawn.
    """

    size: tuple[int, int]
    short: int = 0


class Transform(Protocol):
    """What the loader needs of a transform; worker processes get it pickled."""

    @property
    def distort(self) -> bool:
        """Whether :func:`distort` changes the colours."""

    @property
    def pad_label(self) -> int:
        """The label of pixels outside of the image."""

    @property
    def by_aspect(self) -> bool:
        """Whether a batch has portraits or landscapes only, and is as large as they need. Other
        batches are all as large as :meth:`largest`.
        """

    def largest(self) -> Batch:
        """Return a batch than which none has more pixels."""

    def batch(self, sizes: Sequence[tuple[int, int]], rng: np.random.RandomState) -> Batch:
        """Return what the samples of a batch share; makes the draws that are one for all of them.

        Args:
            sizes: Height and width of each image; none unless ``by_aspect``.
            rng: Of this batch.
        """

    def view(self, label: np.ndarray, rng: np.random.RandomState, batch: Batch) -> View:
        """Return which window of an image is used, no larger than the batch; draws it.

        Args:
            label: (H, W) uint8, class indices.
            rng: Of this sample.
            batch: The sample's.
        """


def distort(image: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Random brightness, contrast, saturation and hue, each with probability one half.

    Sony's photometric_distortion, same file as ScaleCrop: the same draws and the same
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
    means, stds = (np.array([numbers], np.float32).astype(np.float64) for numbers in (mean, std))
    table = cv2.multiply(cv2.subtract(values, means), 1 / stds)
    return np.ascontiguousarray(table[0].T)


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
