"""Draw a class map over its image, with a legend, and compute the share of each class."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.terminal.printable import one_line
from datasets import DatasetInfo, colours
from engine.inference.settings import LooksSettings

BACKGROUND, INK = (255, 255, 255), (32, 32, 32)
ROWS_PER_BLEND = 64  # rows of an image that are coloured at a time


def overlay(
    image: np.ndarray, labels: np.ndarray, info: DatasetInfo, looks: LooksSettings
) -> np.ndarray:
    """Blend the colours of a class map into its image, and attach a legend if the looks ask for it.

    Args:
        image: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8 class indices.
        info: Facts of the data set, with the names and the colours of the classes.
        looks: Settings of the picture.

    Returns:
        (H, W, 3) uint8, BGR; wider with a legend.
    """
    picture = np.empty_like(image)
    # In steps, because blending needs 16 times the image's memory.
    for top in range(0, len(image), ROWS_PER_BLEND):
        rows = slice(top, top + ROWS_PER_BLEND)
        picture[rows] = colours.overlay(image[rows], labels[rows], info.palette, looks.opacity)
    if not looks.legend:
        return picture
    return attach_panel(picture, legend_panel(len(picture), info))


def class_shares(labels: np.ndarray, info: DatasetInfo) -> dict[str, float]:
    """Return the classes that occur in a class map with their share of the pixels.

    Args:
        labels: (H, W) uint8 class indices.
        info: Facts of the data set, with the names of the classes.

    Returns:
        The share of each class by name, from 0 to 1, the largest first.
    """
    # Row by row, because NumPy converts its input to 8 bytes per pixel.
    none = np.zeros(len(info.classes), np.int64)
    counts = sum((np.bincount(row, minlength=len(none)) for row in labels), none)
    order = np.argsort(-counts, kind='stable')
    return {info.classes[i]: float(counts[i] / labels.size) for i in order if counts[i]}


def legend_panel(height: int, info: DatasetInfo) -> np.ndarray:
    """Draw a panel with the name and the colour of every class, as :func:`legend` does."""
    return legend(height, list(zip(info.classes, info.palette)))


def legend(
    height: int, entries: Sequence[tuple[str, Sequence[int]]], tallest: int = 40
) -> np.ndarray:
    """Draw a panel of names and colours, in columns of readable text.

    Args:
        height: Rows of the panel in pixels.
        entries: Names, each with its colour as (red, green, blue).
        tallest: Largest height of an entry in pixels.

    Returns:
        (height, W, 3) uint8, BGR.
    """
    names = [one_line(name) for name, _ in entries]
    line = int(np.clip(height / (len(entries) + 1), 14, tallest))
    rows = max(1, height // line - 1)
    font = ImageFont.load_default(size=line * 0.6)
    widest = max(map(font.getlength, names), default=0)
    column = int(line * 2 + widest)
    columns = -(-len(entries) // rows)
    panel = Image.new('RGB', (column * columns + line // 2, height), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    for i, (name, (_, colour)) in enumerate(zip(names, entries)):
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
