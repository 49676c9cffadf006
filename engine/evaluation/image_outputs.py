"""What an evaluation writes for every image: pictures, indices, files for a test server."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import datasets
from common.errors import UserError
from datasets import IGNORE, Dataset, DatasetInfo, colours, image_files
from datasets.readers.contract import SubmittingReader
from engine.evaluation.evaluator import Output

RIGHT, WRONG, IGNORED = (200, 200, 200), (0, 0, 220), (0, 0, 0)  # of the error map, BGR


def pictures(dataset: Dataset, folder: Path) -> Output:
    """Image, truth, prediction and error map in one picture, two by two.

    The error map is grey where the prediction is right, red where wrong, black where ignored.
    """

    def write(path, index, image, labels, predictions):
        image_files.write_image(path, picture(dataset.info, image, labels, predictions))

    return Output(_under_names(dataset, folder), write)


def picture(
    info: DatasetInfo, image: np.ndarray, labels: np.ndarray | None, predictions: np.ndarray
):
    """Image, truth, prediction and error map as one picture, BGR; without labels, image and
    prediction.
    """
    predicted = colours.paint(predictions, info.palette)
    rows = [[image, predicted]]
    if labels is not None:
        errors = np.where((labels == predictions)[..., None], RIGHT, WRONG)
        errors = np.where((labels == IGNORE)[..., None], IGNORED, errors).astype(np.uint8)
        rows = [[image, colours.paint(labels, info.palette)], [predicted, errors]]
    return np.vstack([np.hstack(row) for row in rows])


def class_indices(dataset: Dataset, folder: Path) -> Output:
    """Predicted class indices as 8-bit PNG."""

    def write(path, index, image, labels, predictions):
        image_files.write_image(path, predictions)

    return Output(_under_names(dataset, folder), write)


def submission(dataset: Dataset, folder: Path) -> Output:
    """The files that the data set's test server takes: its names, its values."""
    reader = datasets.reader(dataset.info.name)
    if not isinstance(reader, SubmittingReader):
        raise UserError(f'--format-only: {dataset.info.name} has no test server')

    def target(index):
        name, _ = reader.submission(dataset[index], np.zeros((1, 1), np.uint8))
        return folder / name

    def write(path, index, image, labels, predictions):
        _, values = reader.submission(dataset[index], predictions)
        if reader.SUBMITTED_WITH_PALETTE:
            image_files.write_palette_png(path, values, dataset.info.palette)
        else:
            image_files.write_image(path, values)

    return Output(target, write)


def check_targets(dataset: Dataset, outputs: Sequence[Output]):
    """Raise ``UserError`` for a file that would overwrite the data set or another result."""
    taken = {os.path.realpath(p) for s in dataset for p in (s.image, s.label) if p is not None}
    for output in outputs:
        for index in range(len(dataset)):
            path = os.path.realpath(output.target(index))
            if path in taken:
                raise UserError(
                    f'{output.target(index)}: would be overwritten; '
                    'give every kind of result a folder of its own, outside the data set'
                )
            taken.add(path)


def _under_names(dataset: Dataset, folder: Path) -> Callable[[int], Path]:
    return lambda index: folder / f'{dataset[index].name}.png'
