"""Draw the legend of a class map, and compute the share of each class."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets import DatasetInfo

BACKGROUND, INK = (255, 255, 255), (32, 32, 32)


def class_shares(labels: np.ndarray, info: DatasetInfo) -> list[tuple[str, float]]:
    """Return the classes that occur in a class map with their share of the pixels.

    Args:
        labels: (H, W) uint8 class indices.
        info: Facts of the data set, with the names of the classes.

    Returns:
        Pairs of a class name and a share from 0 to 1, the largest share first.
    """
    # Row by row, because NumPy converts its input to 8 bytes per pixel.
    none = np.zeros(len(info.classes), np.int64)
    counts = sum((np.bincount(row, minlength=len(none)) for row in labels), none)
    order = np.argsort(-counts, kind='stable')
    return [(info.classes[i], counts[i] / labels.size) for i in order if counts[i]]


def legend_panel(height: int, info: DatasetInfo) -> np.ndarray:
    """Draw a panel with the name and the colour of every class, in columns of readable text.

    Args:
        height: Rows of the panel in pixels.
        info: Facts of the data set, with the names and the colours of the classes.

    Returns:
        (height, W, 3) uint8, BGR.
    """
    line = int(np.clip(height / (len(info.classes) + 1), 14, 40))
    rows = max(1, height // line - 1)
    font = ImageFont.load_default(size=line * 0.6)
    widest = max(font.getlength(name) for name in info.classes)
    column = int(line * 2 + widest)
    columns = -(-len(info.classes) // rows)
    panel = Image.new('RGB', (column * columns + line // 2, height), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    for i, (name, colour) in enumerate(zip(info.classes, info.palette)):
        left, top = line // 2 + i // rows * column, line // 2 + i % rows * line
        draw.rectangle(
            (left, top + line * 0.15, left + line * 0.7, top + line * 0.85),
            fill=tuple(colour),
            outline=INK,
        )
        draw.text((left + line, top + line / 2), name, fill=INK, font=font, anchor='lm')
    return cv2.cvtColor(np.asarray(panel), cv2.COLOR_RGB2BGR)


def attach_panel(picture: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Attach ``panel`` to the right side of ``picture``; both have the same height."""
    return np.hstack((picture, panel))
