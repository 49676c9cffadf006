"""The images of the lowest score on one sheet."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.terminal.short_repr import short_text
from datasets import Dataset, image_files
from engine.distributed.processes import Processes
from engine.evaluation import metrics, panels, per_image
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.panels import Panel, ShownResult

MAX_PANEL_SIDE = 360  # pixels of the longer side of a panel
MAX_NAME_CHARACTERS = 120  # of an image in its title; four panels are about as wide


@dataclass(frozen=True)
class _Entry:
    """A bad image: its place in the order, its scores, and what the sheet shows of it."""

    place: tuple[bool, float, int]
    score: float
    words: str
    shown: Any

    @property
    def index(self) -> int:
        return self.place[-1]


class WorstImages:
    """Small pictures of the worst images of a shard.

    A consumer of results, see :func:`engine.evaluation.evaluator.predict_shard`. The images do not
    depend on the number of processes.

    Args:
        dataset: The split.
        count: Number of images to keep.
    """

    def __init__(self, dataset: Dataset, count: int):
        self._dataset, self._count = dataset, count
        self._entries: list[_Entry] = []  # the worst first

    def __len__(self) -> int:
        return len(self._entries)

    def __call__(self, result: Any) -> None:
        """Keep an image if it is among the worst so far; images without scores are not."""
        score, words = self._judge(result)
        place = per_image.order(score, result.index)
        full = len(self) == self._count
        if math.isnan(score) or full and place > self._entries[-1].place:
            return
        entry = _Entry(place, score, words, self._show(result))
        bisect.insort(self._entries, entry, key=lambda entry: entry.place)
        del self._entries[self._count :]

    def add_up(self, processes: Processes) -> None:
        """Keep the worst images of all processes."""
        shards = processes.gather(self._entries)
        entries = sorted((e for shard in shards for e in shard), key=lambda entry: entry.place)
        self._entries = entries[: self._count]

    def write(self, path: Path) -> None:
        """Write the sheet: for each image its name and scores, and its panels in rows.

        Raises:
            UserError: The file cannot be written.
        """
        rows = []
        for number, entry in enumerate(self._entries, start=1):
            own = [panels.joined_row(row) for row in self._rows(entry.shown)]
            name = short_text(self._dataset[entry.index].name, MAX_NAME_CHARACTERS)
            title = f'{number}. {name}: {entry.words}'
            rows += [panels.caption(title, max(row.shape[1] for row in own)), *own]
        sheet = self._with_legend(panels.stacked(rows), [entry.shown for entry in self._entries])
        image_files.write_image(path, sheet)

    def _judge(self, result: ImageResult) -> tuple[float, str]:
        """Return the score of an image, NaN without any, and its scores in words."""
        if result.matrix is None:
            return math.nan, ''
        scores = metrics.scores(result.matrix)
        return (
            scores.miou,
            f'mIoU {scores.miou:.2%}, pixel accuracy {scores.pixel_accuracy:.2%}',
        )

    def _show(self, result: ImageResult) -> Any:
        """Return what the sheet shows of an image."""
        return panels.show(self._dataset.info, result, MAX_PANEL_SIDE)

    def _rows(self, shown: ShownResult) -> Sequence[Sequence[Panel]]:
        """Return the panels of an image, in rows."""
        return [shown.panels]

    def _with_legend(self, sheet: np.ndarray, shown: Sequence[ShownResult]) -> np.ndarray:
        """Attach a legend of what all images show."""
        return panels.with_legend(sheet, self._dataset.info, shown)
