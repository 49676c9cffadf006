"""Write the maps beside a picture: class indices, colours, confidence and probabilities."""

from pathlib import Path

import numpy as np

from common.files import replacing
from datasets import depth_files, image_files
from engine.inference.depth_map import DepthMap, Result
from engine.inference.planning import (
    COLOR_ENDING,
    CONFIDENCE_ENDING,
    DEPTH_ENDING,
    LABELS_ENDING,
    PROBABILITIES_ENDING,
    map_path,
)
from engine.inference.segmentation import Segmentation
from engine.inference.settings import LooksSettings

WHITE = 255  # of a confidence of 1


def save_maps(result: Result, picture: Path, looks: LooksSettings) -> None:
    """Write the maps of one task that the settings request.

    Args:
        result: The segmented image.
        picture: Path of its picture, which the names of the maps begin with.
        looks: Settings of the results.

    Raises:
        UserError: A file cannot be written, or the memory does not suffice.
    """
    if isinstance(result, DepthMap):
        if looks.save_labels:
            depth_files.write(map_path(picture, DEPTH_ENDING), result.depth)
        return
    if looks.save_labels:
        image_files.write_image(map_path(picture, LABELS_ENDING), result.labels)
    if looks.save_color:
        color = map_path(picture, COLOR_ENDING)
        image_files.write_palette_png(color, result.labels, result.palette)
    if looks.save_confidence:
        known = np.nan_to_num(result.confidence)  # weights can have NaN
        grey = np.round(known * WHITE).astype(np.uint8)
        image_files.write_image(map_path(picture, CONFIDENCE_ENDING), grey)
    if looks.save_probabilities:
        write_probabilities(map_path(picture, PROBABILITIES_ENDING), result)


def write_probabilities(path: Path, result: Segmentation) -> None:
    """Write ``probabilities``, (num_classes, H, W) float16, and ``classes``, their names, as .npz.

    The file is not compressed: that would save a third of it, and take 15 times as long.

    Raises:
        UserError: The file cannot be written, or the memory does not suffice.
    """
    probabilities, classes = result.half_probabilities(), np.array(result.classes)
    with replacing(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, probabilities=probabilities, classes=classes)
