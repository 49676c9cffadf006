"""Class maps in colours, alone and over their images."""

from collections.abc import Sequence

import numpy as np

from datasets.info import IGNORE

BLACK = (0, 0, 0)  # of ignored pixels


def paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Class indices (H, W) in the colours (red, green, blue) of their classes, BGR (H, W, 3), both
    ``uint8``; ignored pixels are black.
    """
    colours = np.full((IGNORE + 1, 3), BLACK, np.uint8)
    colours[: len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    return colours[labels]


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float
) -> np.ndarray:
    """Class colours (red, green, blue) over a BGR image (H, W, 3), both ``uint8``; ignored pixels
    show the image.

    ``image * (1 - opacity) + colour * opacity``, cut to whole numbers as in the published code.
    """
    colours = np.zeros((IGNORE + 1, 3))
    colours[: len(palette)] = np.array(palette, np.float64)[:, ::-1] * opacity
    picture = (image * (1 - opacity) + colours[labels]).astype(np.uint8)
    np.copyto(picture, image, where=(labels == IGNORE)[..., None])
    return picture
