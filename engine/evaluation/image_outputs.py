"""Files that an evaluation writes per image: pictures, class indices, test server files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

import datasets
from common.errors import UserError
from datasets import Dataset, image_files
from datasets.readers.contract import SubmittingReader
from engine.evaluation import panels
from engine.evaluation.evaluator import ImageResult

Result = TypeVar('Result')  # of an image: of one task, or of several


@dataclass(frozen=True)
class Output(Generic[Result]):
    """A kind of file that is written for every image.

    Attributes:
        target: Function from a sample's index to the path of its file.
        write: Function that writes a result to a path.
    """

    target: Callable[[int], Path]
    write: Callable[[Path, Result], None]


def pictures(dataset: Dataset, folder: Path) -> Output[ImageResult]:
    """Return the output of pictures with image, truth, prediction and error map.

    Without labels a picture shows image and prediction.
    """

    def write(path: Path, result: ImageResult) -> None:
        image_files.write_image(path, panels.picture(dataset.info, result))

    return Output(under_names(dataset, folder), write)


def class_indices(dataset: Dataset, folder: Path) -> Output[ImageResult]:
    """Return the output of predicted class indices as 8-bit PNG."""

    def write(path: Path, result: ImageResult) -> None:
        image_files.write_image(path, result.predictions)

    return Output(under_names(dataset, folder), write)


def submission(dataset: Dataset, folder: Path) -> Output[ImageResult]:
    """Return the output of files with the names and the values that the test server requires.

    Raises:
        UserError: The data set has no test server.
    """
    reader = datasets.reader(dataset.info.name)
    if not isinstance(reader, SubmittingReader):
        raise UserError(f'--format-only: {dataset.info.name} has no test server')

    def target(index: int) -> Path:
        name, _ = reader.submission(dataset[index], np.zeros((1, 1), np.uint8))
        return _below(folder, name)

    def write(path: Path, result: ImageResult) -> None:
        _, values = reader.submission(dataset[result.index], result.predictions)
        if reader.SUBMITTED_WITH_PALETTE:
            image_files.write_palette_png(path, values, dataset.info.palette)
        else:
            image_files.write_image(path, values)

    return Output(target, write)


def under_names(dataset: Dataset, folder: Path) -> Callable[[int], Path]:
    """Return the function from a sample's index to a PNG file of its name in a folder."""
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
