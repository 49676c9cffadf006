"""Read the parts of COCO's annotation files: images, categories and annotations.

Lin et al., ECCV 2014, arXiv:1405.0312; the format is described at cocodataset.org, "Data format".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.reading import json_text
from common.reading.text_files import TextFileError
from common.terminal.short_repr import short_repr
from datasets.info import DataError
from datasets.readers import coco_masks

MAX_ANNOTATION_BYTES = 8 << 30  # COCO's own file has 0.5 GB
MAX_SIDE = 1 << 20  # pixels of an image


def read(path: Path) -> dict[str, Any]:
    """Return the content of an annotation file; raises ``DataError``."""
    try:
        return json_text.read(path, dict, MAX_ANNOTATION_BYTES, unique_keys=False)
    except TextFileError as error:
        raise DataError(str(error)) from error


def images(content: Mapping[str, Any], path: Path) -> dict[int | str, dict[str, Any]]:
    """Return the entries of the images by id; raise ``DataError`` for a wrong one."""
    found: dict[int | str, dict[str, Any]] = {}
    for image in entries(content, 'images', path):
        id_, file_name, *shape = (image.get(k) for k in ('id', 'file_name', 'height', 'width'))
        where = f'{path}: the image {short_repr(id_)}'
        if not isinstance(id_, int | str) or not isinstance(file_name, str):
            raise DataError(f'{where} needs an id, and a file_name as text')
        if id_ in found:
            raise DataError(f'{where} is there twice')
        if not all(json_text.is_count(side, 1, MAX_SIDE) for side in shape):
            raise DataError(f'{where} needs a height and a width of 1 to {MAX_SIDE} pixels')
        found[id_] = image
    return found


def entries(content: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """Return the objects in a list of the file; raise ``DataError`` for other values."""
    found = content.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(
            f'{path}: not a file of COCO instance annotations ({key} must be a list of objects)'
        )
    return found


def by_image(
    annotations: Sequence[dict[str, Any]], path: Path
) -> dict[int | str, list[dict[str, Any]]]:
    """Return annotations by the id of their image; raise ``DataError`` for a wrong one."""
    found: dict[int | str, list[dict[str, Any]]] = {}
    for annotation in annotations:
        category, image = annotation.get('category_id'), annotation.get('image_id')
        if not isinstance(category, int) or not isinstance(image, int | str):
            raise DataError(f'{place(annotation, path)} needs a category_id and an image_id')
        found.setdefault(image, []).append(annotation)
    return found


def check_segmentations(
    annotations: Sequence[dict[str, Any]], height: int, width: int, path: Path
) -> None:
    """Raise ``DataError`` for annotations of an image that cannot be drawn."""
    longest = 0.0
    for annotation in annotations:
        try:
            longest += coco_masks.check(annotation.get('segmentation'), height, width)
        except ValueError as error:
            raise DataError(f'{place(annotation, path)}: {error}') from error
    if longest > coco_masks.MAX_OUTLINE:
        try:
            coco_masks.check_outlines(annotation['segmentation'] for annotation in annotations)
        except ValueError as error:
            image = short_repr(annotations[0]['image_id'])
            raise DataError(f'{path}: the image {image}: {error}') from error


def place(annotation: Mapping[str, Any], path: Path) -> str:
    """Return the beginning of a message about an annotation."""
    image, id_ = (short_repr(annotation.get(key)) for key in ('image_id', 'id'))
    return f'{path}: the annotation {id_} of the image {image}'
