"""Compose image, truth, prediction and error map, with names and a legend, at a bounded size."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.terminal.printable import one_line
from common.terminal.short_repr import short_text
from datasets import IGNORE, DatasetInfo, colours
from engine.evaluation.evaluator import ImageResult
from engine.inference.pictures import BACKGROUND, INK, attach_panel, legend

# States of a pixel in the error map, with their names in the legend and colours (red, green, blue).
RIGHT, WRONG, IGNORED = range(3)
STATES = {'right': (200, 200, 200), 'wrong': (220, 0, 0), 'ignored': colours.BLACK}
MAX_PANEL_SIDE = 800  # pixels of the longer side of a panel; larger images are shown smaller
GAP, CAPTION_HEIGHT, FONT_SIZE, LEGEND_LINE = 8, 24, 15, 24  # pixels
MAX_NAME_CHARACTERS = 40  # of a class in the legend


@dataclass(frozen=True)
class Panel:
    """A picture with its name.

    Attributes:
        name: The caption.
        pixels: (H, W, 3) uint8, BGR.
    """

    name: str
    pixels: np.ndarray


@dataclass(frozen=True)
class ShownResult:
    """What a picture shows of an image.

    Attributes:
        panels: Image, truth, prediction and errors; without labels image and prediction.
        classes: Indices of the classes in them.
    """

    panels: tuple[Panel, ...]
    classes: frozenset[int]

    @property
    def has_errors(self) -> bool:
        """Whether an error map is among the panels."""
        return len(self.panels) == 4


def picture(info: DatasetInfo, result: ImageResult) -> np.ndarray:
    """Compose image, truth, prediction and error map in two rows, with a legend on the right.

    Args:
        info: Facts of the data set, with names and colours of the classes.
        result: The image; without labels the picture shows image and prediction, in one row.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    found = show(info, result, MAX_PANEL_SIDE)
    rows = [found.panels[start : start + 2] for start in range(0, len(found.panels), 2)]
    return with_legend(stacked([joined_row(row) for row in rows]), info, [found])


def show(info: DatasetInfo, result: ImageResult, max_side: int) -> ShownResult:
    """Return the panels of an image: image, truth, prediction, errors; two of them without labels.

    Args:
        info: Facts of the data set, with the colours of the classes.
        result: The image.
        max_side: Pixels of the longer side; larger images are reduced.
    """
    size = reduced_size(result.image, max_side)
    predictions = resized(result.predictions, size, cv2.INTER_NEAREST)
    image = Panel('image', resized(result.image, size, cv2.INTER_AREA))
    predicted = Panel('prediction', colours.paint(predictions, info.palette))
    classes = frozenset(np.unique(predictions).tolist())
    if result.labels is None:
        return ShownResult((image, predicted), classes)
    labels = resized(result.labels, size, cv2.INTER_NEAREST)
    truth = Panel('truth', colours.paint(labels, info.palette))
    states = np.where(result.labels == result.predictions, np.uint8(RIGHT), np.uint8(WRONG))
    states[result.labels == IGNORE] = IGNORED
    painted = colours.paint(states, tuple(STATES.values()))
    # A mean of colours: single wrong pixels of a large image stay visible.
    errors = Panel(_errors_caption(states), resized(painted, size, cv2.INTER_AREA))
    classes |= frozenset(np.unique(labels).tolist())
    return ShownResult((image, truth, predicted, errors), classes)


def joined_row(panels: Sequence[Panel]) -> np.ndarray:
    """Return panels side by side, each below its name."""
    return np.hstack([_framed(panel) for panel in panels])


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return pictures one below the other, narrower ones filled up on the right."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([_filled(row, len(row), width) for row in rows])


def with_legend(picture: np.ndarray, info: DatasetInfo, shown: Sequence[ShownResult]) -> np.ndarray:
    """Attach a legend to the right of a picture: the classes and the states that it shows."""
    classes = frozenset[int]().union(*(each.classes for each in shown))
    entries = [
        (short_text(name, MAX_NAME_CHARACTERS), colour)
        for index, (name, colour) in enumerate(zip(info.classes, info.palette))
        if index in classes
    ]
    if any(each.has_errors for each in shown):
        entries += STATES.items()
    return attach_panel(picture, legend(len(picture), entries, LEGEND_LINE))


def caption(text: str, width: int) -> np.ndarray:
    """Return a line of text, (CAPTION_HEIGHT, W, 3) uint8, BGR; at least ``width`` wide."""
    text = one_line(text)
    font = ImageFont.load_default(size=FONT_SIZE)
    strip = Image.new(
        'RGB', (max(width, int(font.getlength(text)) + 2 * GAP), CAPTION_HEIGHT), BACKGROUND
    )
    ImageDraw.Draw(strip).text((GAP, CAPTION_HEIGHT / 2), text, fill=INK, font=font, anchor='lm')
    return cv2.cvtColor(np.asarray(strip), cv2.COLOR_RGB2BGR)


def _framed(panel: Panel) -> np.ndarray:
    """Return a panel below its name, with a gap on the left and at the bottom."""
    height, width = panel.pixels.shape[:2]
    strip = caption(panel.name, GAP + width)
    picture = np.full((height + GAP, strip.shape[1], 3), BACKGROUND, np.uint8)
    picture[:height, GAP : GAP + width] = panel.pixels
    return np.vstack((strip, picture))


def _errors_caption(states: np.ndarray) -> str:
    """Return the name of the error map, with the share of the labelled pixels that are wrong."""
    wrong, scored = np.count_nonzero(states == WRONG), np.count_nonzero(states != IGNORED)
    return f'errors: {wrong / scored:.1%}' if scored else 'errors'


def reduced_size(image: np.ndarray, max_side: int) -> tuple[int, int]:
    """Return height and width of a panel whose longer side has at most ``max_side`` pixels."""
    height, width = image.shape[:2]
    scale = min(1, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(array: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    """Return an array (H, W) or (H, W, 3) at another height and width."""
    if array.shape[:2] == size:
        return array
    return cv2.resize(array, size[::-1], interpolation=interpolation)


def _filled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    result = np.full((height, width, 3), BACKGROUND, np.uint8)
    result[: picture.shape[0], : picture.shape[1]] = picture
    return result
