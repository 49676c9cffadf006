"""Annotations of LabelMe, CVAT and COCO, read and drawn."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from datasets.preparation.polygons import drawing, labelme
from datasets.preparation.polygons.reading import read_file
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import texts
from fuzz.readers.pictures import png

_SIDE = 64  # pixels of an image
_OUTLINE: list[list[float]] = [[5, 5], [60, 5], [60, 50.5], [5, 50]]


def _labelme(rng: np.random.Generator) -> list[Content]:
    mask = base64.b64encode(png(np.full((11, 16), 255, np.uint8), 8)).decode()
    shapes: list[dict[str, Any]] = [
        {'label': 'road', 'points': _OUTLINE, 'shape_type': 'polygon', 'group_id': None},
        {'label': 'car', 'points': [[20, 20], [10, 10]], 'shape_type': 'rectangle'},
        {'label': 'car', 'points': [[40, 40], [45, 40]], 'shape_type': 'circle'},
        {'label': 'pole', 'points': [[40, 0], [45, 40], [50, 0]], 'shape_type': 'linestrip'},
        {'label': 'pole', 'points': [[3, 3]], 'shape_type': 'point'},
        {'label': 'tree', 'points': [[40, 10], [55, 20]], 'shape_type': 'mask', 'mask': mask},
    ]
    document = {
        'version': '5.4.1',
        'flags': {},
        'shapes': shapes,
        'imagePath': 'a.png',
        'imageData': base64.b64encode(png(np.zeros((_SIDE, _SIDE), np.uint8), 8)).decode(),
        'imageHeight': _SIDE,
        'imageWidth': _SIDE,
    }

    def right(value: list[Any]) -> bool:
        ((image, labels, _),) = value
        return image == 'a.png' and labels[15, 15] == 2 and labels[15, 45] == 4

    return [one_file('a.json', json.dumps(document).encode(), right)]


def _cvat(rng: np.random.Generator) -> list[Content]:
    document = f"""<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>car</name></label></labels></task></meta>
  <image id="0" name="a.png" width="{_SIDE}" height="{_SIDE}">
    <polygon label="road" points="5,5;60,5;60,50.5;5,50" z_order="1" occluded="0">
      <attribute name="wet">no</attribute>
    </polygon>
    <box label="car" xtl="10" ytl="10" xbr="20" ybr="20.5" rotation="10" z_order="2"/>
    <ellipse label="car" cx="40" cy="40" rx="5" ry="7" z_order="0"/>
    <mask label="pole" rle="1, 2, 3" left="2" top="60" width="3" height="2" z_order="0"/>
    <points label="car" points="1,2" z_order="0"/>
  </image>
</annotations>
"""

    def right(value: list[Any]) -> bool:
        ((image, labels, _),) = value
        return image == 'a.png' and labels[15, 15] == 1 and labels[40, 40] == 3

    return [one_file('a.xml', document.encode(), right)]


def _coco(rng: np.random.Generator) -> list[Content]:
    flat = [number for point in _OUTLINE for number in point]
    runs = {'counts': [70, 50, _SIDE * _SIDE - 120], 'size': [_SIDE, _SIDE]}
    document: dict[str, Any] = {
        'images': [{'id': 1, 'file_name': 'a.png', 'height': _SIDE, 'width': _SIDE}],
        'categories': [{'id': 3, 'name': 'road'}, {'id': 8, 'name': 'car'}],
        'annotations': [
            {'id': 11, 'image_id': 1, 'category_id': 3, 'iscrowd': 0, 'segmentation': [flat]},
            {'id': 12, 'image_id': 1, 'category_id': 8, 'iscrowd': 1, 'segmentation': runs},
        ],
    }

    def right(value: list[Any]) -> bool:
        ((image, labels, _),) = value
        return image == 'a.png' and labels[15, 15] == 2

    return [one_file('a.json', json.dumps(document).encode(), right)]


def _read(path: Path) -> list[tuple[str, np.ndarray, bytes]]:
    """Return for each image its name, its class indices by labels, and the image in the file."""
    found = []
    for annotation in read_file(path)[0]:
        indices = {label: index % 250 for index, label in enumerate(annotation.labels, 1)}
        labels = drawing.draw(annotation, path, (_SIDE, _SIDE), indices, 0)
        data = labelme.image_data(path) if annotation.has_image else b''
        found.append((annotation.image, labels, data))
    return found


READERS = (
    Reader('labelme', _labelme, _read, texts.OF_JSON, share=2),
    Reader('cvat', _cvat, _read, texts.OF_XML, share=3),
    Reader('coco_polygons', _coco, _read, texts.OF_JSON, share=2),
)
