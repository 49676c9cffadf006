"""Draw the pictures and targets of a scene, each at the size of a cell of a contact sheet."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from datasets import value_colours
from datasets.colours import overlay
from datasets.dataset import Dataset
from datasets.scenes import camera_place

_BAR_SHARE = 0.14  # of a cell's width, for the bar of depth


@dataclass(frozen=True)
class Cell:
    """A picture or target of a scene.

    Attributes:
        picture: (h, w, 3) uint8, BGR.
        task: The task of a target; None for a picture.
        labels: (H, W) uint8, class indices of a class map.
        remark: What depth shows, in words.
    """

    picture: np.ndarray
    task: str | None = None
    labels: np.ndarray | None = None
    remark: str = ''


def cells_of(dataset: Dataset, index: int, largest: tuple[int, int], opacity: float) -> list[Cell]:
    """Return the pictures of a scene, then the targets that it has.

    Args:
        dataset: The data set.
        index: Index of the sample.
        largest: Width and height of a cell in pixels.
        opacity: Weight of the colours of classes over the image, from 0 to 1.

    Raises:
        InputError: A file cannot be used.
    """
    sample = dataset[index]
    there = tuple(task for task in dataset.tasks if sample.target(task.name) is not None)
    if there or not dataset.tasks and sample.label is not None:
        scene = replace(dataset, tasks=there).scene(index)
        pictures, targets = scene.pictures, scene.targets
    else:
        pictures, targets = dataset.pictures(index), {}
    cells = []
    for picture, is_flow in zip(pictures, dataset.flow):
        shown = value_colours.paint_flow(picture) if is_flow else picture
        cells.append(Cell(_fitted(shown, largest)))
    image = cells[camera_place(sample)].picture
    for task, values in targets.items():
        if values.dtype == np.float32:
            cells.append(_depth_cell(task, values, image))
            continue
        small = cv2.resize(values, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        palette = dataset.info.of_task(task).palette
        cells.append(Cell(overlay(image, small, palette, opacity), task, values))
    return cells


def _fitted(picture: np.ndarray, largest: tuple[int, int]) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = min(largest[0] / width, largest[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _depth_cell(task: str, depth: np.ndarray, image: np.ndarray) -> Cell:
    """Return the colours of depth with a bar of its metres, at the size of the image's cell."""
    height, width = image.shape[:2]
    limits = value_colours.depth_limits(depth)
    bar_width = min(width // 2, max(48, round(width * _BAR_SHARE)))
    small = _reduced(depth, (width - bar_width, height))
    bar = value_colours.depth_bar(height, bar_width, limits)
    picture = np.hstack([value_colours.paint_depth(small, limits), bar])
    known = depth[depth > 0]
    if not known.size:
        return Cell(picture, task, remark='no pixel is known')
    remark = (
        f'{known.min():.2f} to {known.max():.2f} m, median {np.median(known):.2f} m, '
        f'{known.size / depth.size:.1%} known'
    )
    return Cell(picture, task, remark=remark)


def _reduced(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a smaller depth map: each pixel is the mean of what is known in its area."""
    known = (depth > 0).astype(np.float32)
    if size[0] * size[1] >= depth.size:
        return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
    total = cv2.resize(depth, size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    return np.divide(total, share, out=np.zeros_like(total), where=share > 0)
