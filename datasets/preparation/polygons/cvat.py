"""Read the XML that CVAT exports as "CVAT for images 1.1": polygons, boxes, ellipses, masks.

Shapes are drawn by their ``z_order``, equal ones in the order of the file, as CVAT shows them.
Outlines are filled as in COCO's tools, which CVAT uses for its own export of masks. Attributes do
not matter for classes. Points, polylines, cuboids and skeletons have no area; they are left out.

The format: docs.cvat.ai, "CVAT for image"; masks: cvat-ai/cvat, cvat/apps/dataset_manager/formats/
transformers.py, CVATRleToCOCORle.
"""

import math
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from common.reading import xml_text
from common.terminal.short_repr import short_repr, short_text
from datasets.info import DataError
from datasets.preparation.polygons import annotations
from datasets.preparation.polygons.annotations import RUNS, SEGMENTATION, Annotation, Region
from datasets.readers import coco_masks
from datasets.readers.coco_files import MAX_SIDE

MAX_FILE_BYTES = 256 << 20
ELLIPSE_CORNERS = 360
_NO_AREA = ('points', 'polyline', 'cuboid', 'skeleton')


def read(path: Path) -> tuple[list[Annotation], list[str]]:
    """Return the annotations of all images, and the names of the labels in their order.

    Raises:
        UserError: The file is not such an export of CVAT.
    """
    found: list[Annotation] = []
    names: list[str] = []
    for element in xml_text.children(path, 'annotations', MAX_FILE_BYTES):
        if element.tag == 'meta':
            labels = element.iterfind('.//labels/label/name')
            names += [label.text for label in labels if label.text]
        elif element.tag == 'track':
            raise DataError(
                f'{path}: tracks of a video; export the task anew in the format CVAT for images 1.1'
            )
        elif element.tag == 'image':
            found.append(_annotation(element, path))
    if not found:
        raise DataError(
            f'{path}: has no image element; export it from CVAT in the format CVAT for images 1.1'
        )
    return found, names


def _annotation(element: Element, path: Path) -> Annotation:
    """Return the annotation of an image."""
    name = element.get('name', '')
    where = f'{path}: the image {short_repr(name)}'
    try:
        height, width = (_whole(element, key, 1, MAX_SIDE) for key in ('height', 'width'))
        shapes = [shape for shape in element if shape.tag == 'mask' or shape.tag in _OUTLINES]
        shapes.sort(key=lambda shape: _whole(shape, 'z_order', -(2**31), 2**31, '0'))
        regions = [_region(shape, height, width) for shape in shapes]
        annotations.check_length(
            polygon for r in regions if r.kind == SEGMENTATION for polygon in r.geometry
        )
    except ValueError as error:
        raise DataError(f'{where}: {error}') from error
    undrawn = sum(shape.tag in _NO_AREA for shape in element)
    return annotations.make(path, name, (height, width), regions, undrawn)


def _region(shape: Element, height: int, width: int) -> Region:
    """Return a shape as a region; raise ``ValueError`` for one that cannot be drawn."""
    label = shape.get('label')
    if not label:
        raise ValueError(f'one {shape.tag} has no label')
    try:
        if shape.tag == 'mask':
            return Region(label, RUNS, _runs(shape, height, width))
        outline = [_OUTLINES[shape.tag](shape).ravel().tolist()]
        coco_masks.check(outline, height, width)
    except ValueError as error:
        raise ValueError(f'the {shape.tag} {short_text(label)}: {error}') from error
    return Region(label, SEGMENTATION, outline)


def _polygon(shape: Element) -> np.ndarray:
    """Return the corners of a polygon, (points, 2) float64."""
    pairs = [point.split(',') for point in shape.get('points', '').split(';')]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError('its points are not "x,y;x,y;x,y", three at least')
    return np.array(pairs, np.float64)


def _box(shape: Element) -> np.ndarray:
    left, top, right, bottom = (_number(shape, key) for key in ('xtl', 'ytl', 'xbr', 'ybr'))
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return _turned(corners, np.array([left + right, top + bottom]) / 2, shape)


def _ellipse(shape: Element) -> np.ndarray:
    centre = np.array([_number(shape, 'cx'), _number(shape, 'cy')])
    angles = np.arange(ELLIPSE_CORNERS) * (2 * np.pi / ELLIPSE_CORNERS)
    radii = np.array([_number(shape, 'rx'), _number(shape, 'ry')])
    corners = centre + radii * np.column_stack((np.cos(angles), np.sin(angles)))
    return _turned(corners, centre, shape)


def _turned(corners: np.ndarray, centre: np.ndarray, shape: Element) -> np.ndarray:
    """Return corners turned by the ``rotation`` of a shape, in degrees clockwise."""
    degrees = _number(shape, 'rotation', '0')
    if not degrees:
        return corners
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return centre + (corners - centre) @ np.array([[cosine, sine], [-sine, cosine]])


def _runs(shape: Element, height: int, width: int) -> list:
    """Return left, top, width and height of a mask, and its run lengths, which start outside."""
    left, own_width = _whole(shape, 'left', 0, width), _whole(shape, 'width', 1, width)
    top, own_height = _whole(shape, 'top', 0, height), _whole(shape, 'height', 1, height)
    if left + own_width > width or top + own_height > height:
        raise ValueError(f'it leaves the {width}x{height} pixels of its image')
    pixels = own_width * own_height
    words = shape.get('rle', '').split(',')
    if not all(word.strip().isdecimal() and len(word) < 20 for word in words):
        raise ValueError('its rle is not a list of whole numbers')
    runs = [int(word) for word in words]
    if sum(runs) != pixels:
        raise ValueError(f'its rle has {sum(runs)} pixels instead of {own_width}x{own_height}')
    return [left, top, own_width, own_height, runs]


def _number(shape: Element, key: str, default: str = '') -> float:
    text = shape.get(key, default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= coco_masks.MAX_COORDINATE:
        raise ValueError(f'its {key} is {short_repr(text)}, not a number of pixels')
    return number


def _whole(element: Element, key: str, least: int, most: int, default: str = '') -> int:
    text = element.get(key, default)
    plain = text.strip()
    if not plain.removeprefix('-').isdecimal() or len(plain) > 12:
        raise ValueError(f'{key} is {short_repr(text)}, not a whole number')
    if not least <= int(plain) <= most:
        raise ValueError(f'{key} is {plain}, not within {least} and {most}')
    return int(plain)


_OUTLINES = {'polygon': _polygon, 'box': _box, 'ellipse': _ellipse}
