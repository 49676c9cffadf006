"""Draw class maps in colour, alone or over their images."""

from collections.abc import Sequence

import numpy as np

from datasets.info import IGNORE

BLACK = (0, 0, 0)  # colour of ignored pixels


def paint(labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Return a colour image of a class map.

    Args:
        labels: (H, W) uint8, class indices; 255 for ignored pixels, which become black.
        palette: The colours of the classes as (red, green, blue).

    Returns:
        (H, W, 3) uint8, BGR.
    """
    colours = np.full((IGNORE + 1, 3), BLACK, np.uint8)
    colours[: len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    return colours[labels]


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float
) -> np.ndarray:
    """Blend the colours of a class map into its image.

    Each pixel is ``image * (1 - opacity) + colour * opacity``, truncated to an integer as in the
    published code. Ignored pixels keep the image.

    Args:
        image: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8, class indices; 255 for ignored pixels.
        palette: The colours of the classes as (red, green, blue).
        opacity: Weight of the colours, from 0 to 1.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    colours = np.zeros((IGNORE + 1, 3))
    colours[: len(palette)] = np.array(palette, np.float64)[:, ::-1] * opacity
    picture = (image * (1 - opacity) + colours[labels]).astype(np.uint8)
    np.copyto(picture, image, where=(labels == IGNORE)[..., None])
    return picture
