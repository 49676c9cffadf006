"""The images of the lowest mIoU on one sheet."""

import bisect
import math
from dataclasses import dataclass
from pathlib import Path

from common.terminal.short_repr import short_text
from datasets import Dataset, image_files
from engine.distributed.processes import Processes
from engine.evaluation import metrics, panels, per_image
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.panels import ShownResult

MAX_PANEL_SIDE = 360  # pixels of the longer side of a panel
MAX_NAME_CHARACTERS = 120  # of an image in its title; four panels are about as wide


@dataclass(frozen=True)
class _Entry:
    """A bad image: its place in the order, its scores, and what the sheet shows of it."""

    place: tuple[bool, float, int]
    miou: float
    pixel_accuracy: float
    result: ShownResult

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

    def __call__(self, result: ImageResult) -> None:
        """Keep an image if it is among the worst so far; images without scores are not."""
        if result.matrix is None:
            return
        scores = metrics.scores(result.matrix)
        place = per_image.order(scores.miou, result.index)
        full = len(self) == self._count
        if math.isnan(scores.miou) or full and place > self._entries[-1].place:
            return
        shown = panels.show(self._dataset.info, result, MAX_PANEL_SIDE)
        entry = _Entry(place, scores.miou, scores.pixel_accuracy, shown)
        bisect.insort(self._entries, entry, key=lambda entry: entry.place)
        del self._entries[self._count :]

    def add_up(self, processes: Processes) -> None:
        """Keep the worst images of all processes."""
        shards = processes.gather(self._entries)
        entries = sorted((e for shard in shards for e in shard), key=lambda entry: entry.place)
        self._entries = entries[: self._count]

    def write(self, path: Path) -> None:
        """Write the sheet: for each image its name and scores, and its panels in a row.

        Raises:
            UserError: The file cannot be written.
        """
        rows = []
        for number, entry in enumerate(self._entries, start=1):
            row = panels.joined_row(entry.result.panels)
            name = short_text(self._dataset[entry.index].name, MAX_NAME_CHARACTERS)
            title = (
                f'{number}. {name}: mIoU {entry.miou:.2%}, '
                f'pixel accuracy {entry.pixel_accuracy:.2%}'
            )
            rows += [panels.caption(title, row.shape[1]), row]
        shown = [entry.result for entry in self._entries]
        sheet = panels.with_legend(panels.stacked(rows), self._dataset.info, shown)
        image_files.write_image(path, sheet)
