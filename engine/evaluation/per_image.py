"""Scores of every image, the worst image first, as a CSV file."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from common import files
from common.terminal.printable import one_line
from datasets import Dataset, DatasetInfo
from engine.distributed.processes import Processes
from engine.evaluation import metrics
from engine.evaluation.evaluator import ImageResult
from engine.evaluation.metrics import Scores

# The columns before those of the classes, in percent but for the number of labelled pixels.
NAME, FILE = 'name', 'image'
COLUMNS = (
    NAME,
    'miou',
    'mean_f1',
    'mean_precision',
    'mean_accuracy',
    'pixel_accuracy',
    'pixels',
    FILE,
)
CLASS_PREFIX = 'iou '  # of the columns of the classes, so that no class is called as a score
FORMULA = ('=', '+', '-', '@')  # first characters of what spreadsheets compute


class ImageScores:
    """Counts of every image of a shard; those of all shards make a table.

    A consumer of results, see :func:`engine.evaluation.evaluator.predict_shard`.
    """

    def __init__(self) -> None:
        self._counts: dict[int, np.ndarray] = {}

    def __call__(self, result: ImageResult) -> None:
        """Count an image."""
        if result.matrix is not None:
            self._counts[result.index] = metrics.class_counts(result.matrix)

    def add_up(self, processes: Processes) -> None:
        """Take over the images of all processes."""
        shards = processes.gather(self._counts)
        self._counts = {index: counts for shard in shards for index, counts in shard.items()}

    def write(self, path: Path, dataset: Dataset) -> None:
        """Write the table: the image of the lowest mIoU first, images without scores last.

        Raises:
            UserError: The file cannot be written.
        """
        scored = [(i, metrics.scores_of_counts(c), c[1].sum()) for i, c in self._counts.items()]
        scored.sort(key=lambda row: order(row[1].miou, row[0]))
        titles = [*COLUMNS, *class_titles(dataset.info)]
        write_table(path, [titles, *(_row(dataset, i, each, int(n)) for i, each, n in scored)])


def write_table(path: Path, rows: Iterable[Sequence[str | int]]) -> None:
    """Write rows, the titles first, as a CSV file; raise ``UserError`` if that fails."""
    with (
        files.replacing(path) as temporary,
        open(temporary, 'w', newline='', encoding='utf-8') as file,
    ):
        csv.writer(file, lineterminator='\n').writerows(rows)


def class_titles(info: DatasetInfo) -> list[str]:
    """Return the titles of the columns with the IoU of each class."""
    return [f'{CLASS_PREFIX}{one_line(name)}' for name in info.classes]


def order(miou: float, index: int) -> tuple[bool, float, int]:
    """Return the key that sorts images: the worst first, undefined scores last."""
    unknown = math.isnan(miou)
    return unknown, 0.0 if unknown else miou, index


def _row(dataset: Dataset, index: int, scores: Scores, pixels: int) -> Sequence[str | int]:
    sample = dataset[index]
    means = (
        scores.miou,
        scores.mean_f1,
        scores.mean_precision,
        scores.mean_accuracy,
        scores.pixel_accuracy,
    )
    name, image = path_cell(sample.name), path_cell(str(sample.image))
    return [name, *map(percent_cell, means), pixels, image, *map(percent_cell, scores.iou)]


def path_cell(path: str) -> str:
    """Return a path on one line; ``./`` before one that a spreadsheet would take for a formula."""
    return one_line(f'./{path}' if path.startswith(FORMULA) else path)


def percent_cell(share: float) -> str:
    """Return a share in percent; empty without a score."""
    return '' if math.isnan(share) else f'{100 * share:.4f}'
