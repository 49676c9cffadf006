"""What an evaluation writes for every image: pictures, indices, files for a test server."""

from pathlib import Path

import numpy as np

import datasets
from command import UserError
from datasets import IGNORE, Dataset, colours, image_files
from engine.evaluator import Output

RIGHT, WRONG, IGNORED = (200, 200, 200), (0, 0, 220), (0, 0, 0)  # of the error map, BGR


def pictures(dataset: Dataset, folder: Path) -> Output:
    """Image, truth, prediction and error map in one picture, two by two.

    The error map is grey where the prediction is right, red where wrong, black where ignored.
    """

    def write(index, image, labels, predictions):
        predicted = colours.paint(predictions, dataset.info.palette)
        rows = [[image, predicted]]
        if labels is not None:
            errors = np.where((labels == predictions)[..., None], RIGHT, WRONG)
            errors = np.where((labels == IGNORE)[..., None], IGNORED, errors).astype(np.uint8)
            truth = colours.paint(labels, dataset.info.palette)
            rows = [[image, truth], [predicted, errors]]
        picture = np.vstack([np.hstack(row) for row in rows])
        image_files.write_image(folder / f'{dataset[index].name}.png', picture)

    return write


def class_indices(dataset: Dataset, folder: Path) -> Output:
    """Predicted class indices as 8-bit PNG."""

    def write(index, image, labels, predictions):
        image_files.write_image(folder / f'{dataset[index].name}.png', predictions)

    return write


def submission(dataset: Dataset, folder: Path) -> Output:
    """The files that the data set's test server takes: its names, its values."""
    module = datasets.module(dataset.info.name)
    if not hasattr(module, 'submission'):
        raise UserError(f'--format-only: {dataset.info.name} has no test server')

    def write(index, image, labels, predictions):
        name, values = module.submission(dataset[index], predictions)
        if module.SUBMITTED_WITH_PALETTE:
            image_files.write_palette_png(folder / name, values, dataset.info.palette)
        else:
            image_files.write_image(folder / name, values)

    return write
