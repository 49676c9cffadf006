"""Files that an evaluation writes per image: pictures, class indices, test server files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

import datasets
from common.errors import UserError
from datasets import IGNORE, Dataset, DatasetInfo, colours, image_files
from datasets.readers.contract import SubmittingReader
from engine.evaluation.evaluator import Output

Writer = Callable[[Dataset, Path], Output]
RIGHT, WRONG, IGNORED = (200, 200, 200), (0, 0, 220), (0, 0, 0)  # BGR colours of the error map


def pictures(dataset: Dataset, folder: Path) -> Output:
    """Return the output of pictures with image, truth, prediction and error map, in two rows.

    The error map is grey at correct pixels, red at wrong ones and black at ignored ones. Without
    labels a picture shows image and prediction.
    """

    def write(path, index, image, labels, predictions):
        image_files.write_image(path, picture(dataset.info, image, labels, predictions))

    return Output(_under_names(dataset, folder), write)


def picture(
    info: DatasetInfo, image: np.ndarray, labels: np.ndarray | None, predictions: np.ndarray
):
    """Compose image, truth, prediction and error map; without labels, image and prediction.

    Args:
        info: Facts of the data set, with the palette.
        image: (H, W, 3) uint8, BGR.
        labels: (H, W) uint8, or None.
        predictions: (H, W) uint8.

    Returns:
        (2H, 2W, 3) uint8, BGR; (H, 2W, 3) without labels.
    """
    predicted = colours.paint(predictions, info.palette)
    rows = [[image, predicted]]
    if labels is not None:
        errors = np.where((labels == predictions)[..., None], RIGHT, WRONG)
        errors = np.where((labels == IGNORE)[..., None], IGNORED, errors).astype(np.uint8)
        rows = [[image, colours.paint(labels, info.palette)], [predicted, errors]]
    return np.vstack([np.hstack(row) for row in rows])


def class_indices(dataset: Dataset, folder: Path) -> Output:
    """Return the output of predicted class indices as 8-bit PNG."""

    def write(path, index, image, labels, predictions):
        image_files.write_image(path, predictions)

    return Output(_under_names(dataset, folder), write)


def submission(dataset: Dataset, folder: Path) -> Output:
    """Return the output of files with the names and the values that the test server requires.

    Raises:
        UserError: The data set has no test server.
    """
    reader = datasets.reader(dataset.info.name)
    if not isinstance(reader, SubmittingReader):
        raise UserError(f'--format-only: {dataset.info.name} has no test server')

    def target(index):
        name, _ = reader.submission(dataset[index], np.zeros((1, 1), np.uint8))
        return _below(folder, name)

    def write(path, index, image, labels, predictions):
        _, values = reader.submission(dataset[index], predictions)
        if reader.SUBMITTED_WITH_PALETTE:
            image_files.write_palette_png(path, values, dataset.info.palette)
        else:
            image_files.write_image(path, values)

    return Output(target, write)


def _under_names(dataset: Dataset, folder: Path) -> Callable[[int], Path]:
    return lambda index: _below(folder, f'{dataset[index].name}.png')


def _below(folder: Path, name: str) -> Path:
    """Return the path of a result; names of samples can come from lists that somebody else wrote.

    Raises:
        UserError: The name leads out of the folder.
    """
    path = Path(name)
    if path.is_absolute() or '..' in path.parts or '\0' in name:
        raise UserError(f'{name}: a result of this name would not be in {folder}; rename the image')
    return folder / path
