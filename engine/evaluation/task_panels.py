"""Compose image, truth, prediction and errors of every task, a row for each."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from common.tasks import CLASSES, Task
from common.terminal.short_repr import short_text
from datasets import Dataset, DatasetInfo, colours, value_colours
from engine.evaluation import depth_metrics, panels
from engine.evaluation.panels import MAX_NAME_CHARACTERS, STATES, Panel, ShownResult
from engine.evaluation.scenes import SceneResult
from engine.inference.pictures import attach_panel, legend

MAX_PANEL_SIDE = 480  # pixels of the longer side of a panel; larger images are shown smaller
FULL_ERROR = 0.25  # relative error of a depth that has the colour of wrong pixels
LEGEND_LINE = 24  # pixels
NEAR_AND_FAR = np.array([[1, 100]], np.float32)  # metres whose colours stand for near and far


@dataclass(frozen=True)
class ShownTask:
    """What a picture shows of a task in an image.

    Attributes:
        task: The task.
        shown: Its panels, and the indices of the classes in them.
    """

    task: Task
    shown: ShownResult


def picture(dataset: Dataset, result: SceneResult) -> np.ndarray:
    """Compose the rows of all tasks, with a legend on the right: (H, W, 3) uint8, BGR."""
    found = show(dataset, result, MAX_PANEL_SIDE)
    rows = [panels.joined_row(each.shown.panels) for each in found]
    return with_legend(panels.stacked(rows), dataset.info, found)


def show(dataset: Dataset, result: SceneResult, max_side: int) -> list[ShownTask]:
    """Return the panels of every task: image, truth, prediction and errors; two without targets.

    Args:
        dataset: The split, with tasks.
        result: The image.
        max_side: Pixels of the longer side of a panel.
    """
    found = []
    for task in dataset.tasks:
        if task.kind == CLASSES:
            own = dataset.info.of_task(task.name)
            shown = panels.show(own, result.of_task(task.name), max_side)
        else:
            shown = _show_depth(result, task.name, max_side)
        image, *others = shown.panels
        named = [Panel(f'{task.name}: {panel.name}', panel.pixels) for panel in others]
        found.append(ShownTask(task, ShownResult((image, *named), shown.classes)))
    return found


def with_legend(picture: np.ndarray, info: DatasetInfo, found: Sequence[ShownTask]) -> np.ndarray:
    """Attach a legend to the right of a picture: the classes of each task, depths and errors."""
    entries: dict[str, Sequence[int]] = {}
    for task in dict.fromkeys(each.task for each in found):
        own = [each.shown for each in found if each.task == task]
        if task.kind == CLASSES:
            facts, seen = info.of_task(task.name), set[int]().union(*(s.classes for s in own))
            for index in sorted(seen.intersection(range(len(facts.classes)))):
                name = short_text(facts.classes[index], MAX_NAME_CHARACTERS)
                entries[f'{task.name}: {name}'] = facts.palette[index]
        else:
            limits = (float(NEAR_AND_FAR.min()), float(NEAR_AND_FAR.max()))
            near, far = value_colours.paint_depth(NEAR_AND_FAR, limits)[0, :, ::-1].tolist()
            entries |= {f'{task.name}: near': near, f'{task.name}: far': far}
    if any(each.shown.has_errors for each in found):
        entries |= STATES
    return attach_panel(picture, legend(len(picture), list(entries.items()), LEGEND_LINE))


def _show_depth(result: SceneResult, task: str, max_side: int) -> ShownResult:
    """Return the panels of a depth task; truth and prediction have the same colours."""
    size = panels.reduced_size(result.image, max_side)
    predicted = _nearest(result.predictions[task], size)
    image = Panel('image', panels.resized(result.image, size, cv2.INTER_AREA))
    if result.targets is None:
        limits = value_colours.depth_limits(predicted)
        return ShownResult((image, _painted('prediction', predicted, limits)), frozenset())
    metres = result.targets[task]
    limits = value_colours.depth_limits(metres)
    sums = result.counts[task] if result.counts else np.zeros(8)
    ard = depth_metrics.scores(sums).ard
    caption = f'errors: ARD {ard:.1%}' if sums[0] else 'errors'
    errors = _errors(metres, result.predictions[task])
    shown = (
        image,
        _painted('truth', _nearest(metres, size), limits),
        _painted('prediction', predicted, limits),
        Panel(caption, panels.resized(errors, size, cv2.INTER_AREA)),
    )
    return ShownResult(shown, frozenset())


def _painted(name: str, depth: np.ndarray, limits: tuple[float, float]) -> Panel:
    caption = f'{name}, {limits[0]:.3g} to {limits[1]:.3g} m'
    return Panel(caption, value_colours.paint_depth(depth, limits))


def _errors(metres: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the relative errors in colours from right to wrong, (H, W, 3) uint8, BGR."""
    known = metres > 0
    share = np.abs(prediction - metres) / np.where(known, metres, 1) / FULL_ERROR
    share = np.minimum(np.nan_to_num(share, nan=1.0), 1.0)[..., None]
    right, wrong = (np.array(STATES[name], np.float32) for name in ('right', 'wrong'))
    painted = np.rint(right * (1 - share) + wrong * share).astype(np.uint8)[..., ::-1]
    return np.where(known[..., None], painted, np.array(colours.BLACK, np.uint8))


def _nearest(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return panels.resized(depth, size, cv2.INTER_NEAREST)
