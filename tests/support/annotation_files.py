"""Annotation files of LabelMe, CVAT and COCO with images beside them."""

import base64
import io
import json
from pathlib import Path

import cv2
from PIL import Image

from support import stand_ins

SIZE = 60, 80  # height and width in pixels
OUTLINE = [[5.5, 8.2], [70.1, 3.9], [60.4, 50.7], [31, 20.25], [9.6, 55.1]]  # not convex
FLAT = [number for point in OUTLINE for number in point]


def image(path: Path, seed: int = 0) -> Path:
    """Write an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), stand_ins.image(*SIZE, seed=seed))
    return path


def labelme(path: Path, drawn, **keys) -> Path:
    """Write a LabelMe file; a shape is a label, a type and points, and keys of its own if any."""
    document = {
        'version': '5.4.1',
        'flags': {},
        'shapes': [
            {
                'label': label,
                'shape_type': type_,
                'points': points,
                'group_id': None,
                'flags': {},
                **(more[0] if more else {}),
            }
            for label, type_, points, *more in drawn
        ],
        'imagePath': f'{path.stem}.png',
        'imageData': None,
        'imageHeight': SIZE[0],
        'imageWidth': SIZE[1],
        **keys,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def cvat(path: Path, images, labels=()) -> Path:
    """Write a CVAT file; ``images`` has the XML of the shapes by the name of the image."""
    names = ''.join(f'<label><name>{name}</name></label>' for name in labels)
    size = f'width="{SIZE[1]}" height="{SIZE[0]}"'
    elements = ''.join(
        f'<image id="{number}" name="{name}" {size}>{shapes}</image>\n'
        for number, (name, shapes) in enumerate(images.items())
    )
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f'<meta><task><labels>{names}</labels></task></meta>\n{elements}</annotations>\n'
    )
    return path


def coco(path: Path, names, annotations, categories, size=SIZE) -> Path:
    """Write a COCO file; an annotation is an image's number, a category and further keys."""
    document = {
        'images': [
            {'id': number, 'file_name': name, 'height': size[0], 'width': size[1]}
            for number, name in enumerate(names)
        ],
        'annotations': [
            {'id': number, 'image_id': image_id, 'category_id': category, **keys}
            for number, (image_id, category, keys) in enumerate(annotations)
        ],
        'categories': [{'id': id_, 'name': name} for id_, name in categories.items()],
    }
    path.write_text(json.dumps(document))
    return path


def as_base64(pixels) -> str:
    """Return a PNG of some pixels in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()
