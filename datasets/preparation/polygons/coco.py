"""Read COCO's JSON of instances: polygons, and RLE as numbers or as compressed text.

Instances are drawn in the order of the file, later ones on top, as COCO's own tools show them
(cocoapi, PythonAPI/pycocotools/coco.py, showAnns) and :mod:`datasets.readers.cocoseg21` draws them.
Crowds, coarse outlines around many objects, are drawn first, below single objects.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.log import LOG
from common.terminal.short_repr import short_repr
from datasets.info import DataError
from datasets.preparation.polygons import annotations
from datasets.preparation.polygons.annotations import SEGMENTATION, Annotation, Region
from datasets.readers import coco_files


def from_content(content: Mapping[str, Any], path: Path) -> tuple[list[Annotation], list[str]]:
    """Return the annotations of all images, and the names of the categories in their order.

    Raises:
        UserError: The content is not that of an annotation file of COCO.
    """
    names = _categories(content, path)
    images = coco_files.images(content, path)
    own = coco_files.by_image(coco_files.entries(content, 'annotations', path), path)
    unknown = next((image for image in own if image not in images), None)
    if unknown is not None:
        raise DataError(
            f'{coco_files.place(own[unknown][0], path)}: there is no image with this id in the file'
        )
    found = []
    boxes = 0
    for id_, image in images.items():
        drawn = [each for each in own.get(id_, []) if each.get('segmentation')]
        boxes += len(own.get(id_, [])) - len(drawn)
        size = image['height'], image['width']
        coco_files.check_segmentations(drawn, *size, path)
        drawn.sort(key=lambda each: each.get('iscrowd') != 1)
        regions = [_region(each, names, path) for each in drawn]
        found.append(annotations.make(path, image['file_name'], size, regions))
    if boxes:
        if not any(annotation.labels for annotation in found):
            raise DataError(
                f'{path}: its {boxes} annotations are boxes without an outline (segmentation), '
                'from which no masks can be made'
            )
        LOG.warning('%s: %d annotations have no outline and are not drawn', path, boxes)
    return found, list(names.values())


def is_coco(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object looks like an annotation file of COCO."""
    return 'images' in content and 'annotations' in content


def _categories(content: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Return the names of the categories by id."""
    names: dict[int, str] = {}
    for category in coco_files.entries(content, 'categories', path):
        id_, name = category.get('id'), category.get('name')
        if type(id_) is not int or not isinstance(name, str):
            raise DataError(
                f'{path}: the category {short_repr(category)} needs a number as id, and a name'
            )
        if id_ in names:
            raise DataError(f'{path}: two categories have the id {id_}; give each its own')
        names[id_] = name
    return names


def _region(annotation: Mapping[str, Any], names: Mapping[int, str], path: Path) -> Region:
    if annotation['category_id'] not in names:
        raise DataError(
            f'{coco_files.place(annotation, path)}: there is no category '
            f'{short_repr(annotation["category_id"])} in the file'
        )
    return Region(names[annotation['category_id']], SEGMENTATION, annotation['segmentation'])
