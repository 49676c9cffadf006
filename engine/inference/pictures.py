"""A legend beside the picture of a class map, and the share of each class."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets import DatasetInfo

BACKGROUND, INK = (255, 255, 255), (32, 32, 32)


def shares(labels: np.ndarray, info: DatasetInfo) -> list[tuple[str, float]]:
    """The classes that occur in a class map and their share of its pixels, largest first."""
    # Row by row, because NumPy counts in an array of 8 bytes a pixel.
    none = np.zeros(len(info.classes), np.int64)
    counts = sum((np.bincount(row, minlength=len(none)) for row in labels), none)
    order = np.argsort(-counts, kind='stable')
    return [(info.classes[i], counts[i] / labels.size) for i in order if counts[i]]


def legend(height: int, info: DatasetInfo) -> np.ndarray:
    """A panel of ``height`` rows with the name and the colour of every class, BGR ``uint8``.

    As many columns as it takes for readable text.
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


def beside(picture: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """``picture`` with ``panel``, of the same height, on its right."""
    return np.hstack((picture, panel))
