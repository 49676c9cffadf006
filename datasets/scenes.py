"""Read scenes: one or several pictures, and the targets of one or several tasks.

All pictures of a scene show the same view. A picture of optical flow, or of another camera, can
have fewer or more pixels than the camera image; targets have its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from common.errors import InputError
from common.tasks import CLASSES, kind_of
from datasets import label_values, optical_flow
from datasets.image_files import image_size, read_image
from datasets.samples import Sample, count_of, regular_file

if TYPE_CHECKING:
    from datasets.dataset import Dataset


@dataclass(frozen=True)
class Scene:
    """The arrays of a sample.

    Attributes:
        pictures: (H, W, 3) uint8, BGR, in the network's order; sizes can differ.
        targets: By task, class indices, (H, W) uint8, or metres, (H, W) float32; of a data set
            without tasks the label by the name of its task.
        size: Height and width of the camera image and all targets.
    """

    pictures: tuple[np.ndarray, ...]
    targets: dict[str, np.ndarray]
    size: tuple[int, int]


def read(dataset: 'Dataset', index: int) -> Scene:
    """Return a scene; raises ``InputError``."""
    sample = dataset[index]
    if not dataset.tasks and not sample.pictures:
        image, label = dataset.pair(index)
        height, width = label.shape
        return Scene((image,), {dataset.info.task: label}, (height, width))
    pictures = dataset.pictures(index)
    height, width = pictures[camera_place(sample)].shape[:2]
    if not dataset.tasks:
        targets = {dataset.info.task: dataset.label(index)}
        dataset.check_sizes(index, (height, width), targets[dataset.info.task].shape)
        return Scene(pictures, targets, (height, width))
    targets = {}
    for task in dataset.tasks:
        targets[task.name] = dataset.target(index, task.name)
        file = sample.target(task.name)
        dataset.check_sizes(index, (height, width), targets[task.name].shape, file)
    return Scene(pictures, targets, (height, width))


def read_pictures(dataset: 'Dataset', index: int) -> tuple[np.ndarray, ...]:
    """Return all pictures of a sample in the network's order; raises ``InputError``."""
    sample = dataset[index]
    pictures = tuple(
        optical_flow.read(path, dataset.reading)
        if is_flow
        else read_image(regular_file(path), dataset.reading)
        for path, is_flow in zip(sample.pictures, dataset.flow, strict=True)
    )
    check_shapes(sample, [picture.shape[:2] for picture in pictures])
    return pictures


def picture_size(dataset: 'Dataset', path: Path) -> tuple[int, int]:
    """Return height and width of a picture of a sample; raises ``InputError``."""
    return image_size(regular_file(path), dataset.reading)


def check_shapes(sample: Sample, sizes: Sequence[tuple[int, ...]]) -> None:
    """Raise ``InputError`` if a picture has another shape than the camera image.

    Args:
        sample: The sample.
        sizes: (height, width) of its pictures.
    """
    height, width = sizes[camera_place(sample)]
    for path, (own_height, own_width) in zip(sample.pictures, sizes):
        if not same_shape((own_height, own_width), (height, width)):
            raise InputError(
                f'{path}: {own_width}x{own_height} pixels, but {sample.image} of the same scene '
                f'has {width}x{height}, which is another shape; do they belong together? '
                'python -m datasets.prepare flow computes flow from the images'
            )


def same_shape(size: tuple[int, ...], of_camera: tuple[int, ...]) -> bool:
    """Return whether a picture shows what the camera image shows, but for rounded sides.

    Args:
        size: (height, width) of the picture.
        of_camera: (height, width) of the camera image.
    """
    scale = size[0] / of_camera[0]
    return abs(size[1] - of_camera[1] * scale) <= max(1.0, scale)


def stacked(dataset: 'Dataset', index: int, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return all pictures at the size of the camera image, (H, W, 3k) uint8.

    Args:
        dataset: The data set.
        index: Index of the sample.
        pictures: Its pictures.
    """
    sample = dataset[index]
    height, width = pictures[camera_place(sample)].shape[:2]
    return np.concatenate(
        [
            _resized(picture, (height, width), is_flow, path)
            for picture, is_flow, path in zip(pictures, dataset.flow, sample.pictures)
        ],
        axis=2,
    )


def _resized(picture: np.ndarray, size: tuple[int, int], is_flow: bool, path: Path) -> np.ndarray:
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    smaller = size[0] * size[1] < height * width
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    if not is_flow:
        return cv2.resize(picture, size[::-1], interpolation=method)
    values = cv2.resize(picture.astype(np.float32), size[::-1], interpolation=method)
    scaled = optical_flow.scale_vectors(values, size[1] / width, size[0] / height)
    return optical_flow.as_picture(scaled, path)


def camera_place(sample: Sample) -> int:
    """Return the index of the camera image among the pictures of a sample."""
    return sample.pictures.index(sample.image) if sample.pictures else 0


def read_target(dataset: 'Dataset', index: int, task: str) -> np.ndarray:
    """Return the target of a task as :meth:`datasets.dataset.Dataset.target` does."""
    values, _ = decode_target(dataset, index, task)
    if kind_of(task) == CLASSES:
        path = dataset[index].target(task)
        label_values.check_range(values, len(dataset.info.of_task(task).classes), path)
    return values


def decode_target(dataset: 'Dataset', index: int, task: str) -> tuple[np.ndarray, str | None]:
    """Return the target of a task without a check of its values, and its fact.

    The fact is that of :meth:`datasets.dataset.Dataset.decoded`. Raises ``InputError``.
    """
    sample = dataset[index]
    if task == dataset.info.task and sample.label is not None:
        return dataset.decoded(index)
    path = sample.target(task)
    if path is None:
        raise InputError(f'{sample.image}: the split {dataset.split} has no {task}')
    return dataset.decode_file(path, dict(dataset.decoders)[task])


def describe(dataset: 'Dataset') -> str:
    """Return the number of scenes: ``9 scenes of 2 pictures with depth and segmentation``."""
    names = [task.name for task in dataset.tasks] or ['a label']
    complete = sum(
        all(sample.target(task.name) for task in dataset.tasks)
        if dataset.tasks
        else sample.label is not None
        for sample in dataset
    )
    pictures = f' of {len(dataset.flow)} pictures' if len(dataset.flow) > 1 else ''
    *others, last = names
    listed = f'{", ".join(others)} and {last}' if others else last
    parts = [f'{count_of(complete, "scene")}{pictures} with {listed}']
    if complete < len(dataset):
        parts.append(f'{len(dataset) - complete} without' + ('' if others else f' {last}'))
    return ' and '.join(parts)
