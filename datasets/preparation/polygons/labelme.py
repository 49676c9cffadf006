"""Read the JSON files of LabelMe, one for an image: wkentaro/labelme, labelme/label_file.py.

Shapes are drawn in the order of the list, as LabelMe shows them and its own conversion draws them
(labelme/utils/shape.py, shapes_to_label). ``group_id``, flags and descriptions do not matter for
classes. The image in the file, ``imageData``, is used only if the image itself is missing.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.reading import json_text
from common.terminal.short_repr import short_repr, short_text
from datasets.preparation.polygons import annotations
from datasets.preparation.polygons.annotations import (
    BITMAP,
    CIRCLE,
    LINE,
    POINT,
    POLYGON,
    RECTANGLE,
    Annotation,
    Region,
)
from datasets.readers.coco_files import MAX_ANNOTATION_BYTES

IGNORED, BACKGROUND = '__ignore__', '_background_'  # labels with a meaning in LabelMe's conversion
# Kind of region, least and largest number of points, by the type of a shape.
_TYPES: Mapping[str, tuple[str, int, int]] = {
    'polygon': (POLYGON, 3, annotations.MAX_VERTICES),
    'rectangle': (RECTANGLE, 2, 2),
    'circle': (CIRCLE, 2, 2),
    'line': (LINE, 2, 2),
    'linestrip': (LINE, 2, annotations.MAX_VERTICES),
    'point': (POINT, 1, 1),
    'mask': (BITMAP, 2, 2),
}


def from_content(content: Mapping[str, Any], path: Path) -> Annotation:
    """Return the annotation in the content of a file; raises ``InputError``."""
    shapes, image = content.get('shapes'), content.get('imagePath')
    if not isinstance(shapes, list) or not isinstance(image, str | None):
        raise InputError(
            f'{path}: not an annotation of LabelMe (shapes must be a list, and imagePath a text)'
        )
    regions = [_region(shape, f'{path}: the shape {n}') for n, shape in enumerate(shapes, 1)]
    try:
        annotations.check_length(_outline(region) for region in regions)
    except ValueError as error:
        raise InputError(f'{path}: {error}') from error
    has_image = bool(content.get('imageData'))
    size = _size(content, path)
    return annotations.make(path, image or '', size, regions, is_alone=True, has_image=has_image)


def image_data(path: Path) -> bytes:
    """Return the bytes of the image in a file; raises ``UserError``."""
    return decode_base64(json_text.read(path, dict, MAX_ANNOTATION_BYTES).get('imageData'), path)


def decode_base64(text: Any, source: Path) -> bytes:
    """Return the bytes of a text in base64; raises ``InputError``."""
    try:
        if not isinstance(text, str):
            raise ValueError('no text')
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputError(f'{source}: an image in it is not base64 ({error})') from error


def _size(content: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    height, width = content.get('imageHeight'), content.get('imageWidth')
    if height is None or width is None:
        return None
    if not json_text.is_count(height, 1) or not json_text.is_count(width, 1):
        raise InputError(
            f'{path}: imageHeight and imageWidth must be numbers of pixels, not '
            f'{short_repr(height)} and {short_repr(width)}'
        )
    return height, width


def _region(shape: Any, where: str) -> Region:
    """Return a shape as a region; raise ``InputError`` for one that cannot be drawn."""
    if not isinstance(shape, dict) or not isinstance(shape.get('label'), str):
        raise InputError(f'{where} has no label')
    label, type_ = shape['label'], shape.get('shape_type')
    type_ = 'polygon' if type_ is None else type_  # of version 3
    where = f'{where}, {short_text(label)},'
    if not isinstance(type_, str) or type_ not in _TYPES:
        known = ', '.join(_TYPES)
        raise InputError(f'{where} is of the type {short_repr(type_)}; drawn are {known}')
    kind, least, most = _TYPES[type_]
    try:
        points = annotations.checked_points(shape.get('points'))
    except ValueError as error:
        raise InputError(f'{where} {error}') from error
    if not least <= len(points) <= most:
        limit = f'at least {least}' if len(points) < least else f'at most {most}'
        wanted = str(least) if least == most else limit
        raise InputError(
            f'{where} is a {type_} of {len(points)} points, not {wanted}; delete it in LabelMe'
        )
    if kind != BITMAP:
        return Region(label, kind, points)
    (left, top), (right, bottom) = points
    box = [int(left), int(top), int(right) + 1, int(bottom) + 1]
    return Region(label, BITMAP, [*box, shape.get('mask')])


def _outline(region: Region) -> list[float]:
    """Return the coordinates of what is drawn, to know its length."""
    if region.kind == BITMAP:
        return region.geometry[:4]
    return [value for point in region.geometry for value in point]


def is_labelme(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object looks like an annotation of LabelMe."""
    return 'shapes' in content
