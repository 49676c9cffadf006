"""Lists of images and labels, and COCO annotations."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from datasets.readers import cocoseg21, folder, lists
from fuzz.inputs import Content, Reader
from fuzz.mutators import texts

_NAMES = ('a', 'b', 'sub/c')
_FILES = {f'{part}/{name}.png': b'' for part in ('images', 'labels') for name in _NAMES}


def _lists(rng: np.random.Generator) -> list[Content]:
    pairs = [(f'images/{name}.png', f'labels/{name}.png') for name in _NAMES]
    odgt = [json.dumps({'fpath_img': image, 'fpath_segm': label}) for image, label in pairs]
    written = {
        'tabs.lst': [f'{image}\t{label}' for image, label in pairs],
        'commas.lst': [f'{image},{label}' for image, label in pairs],
        'spaces.txt': [f'/SegNet/{image} /SegNet/{label}' for image, label in pairs],
        'json.odgt': odgt,
    }

    def right(value: list[Any]) -> bool:
        return [image for image, _ in value] == [image for image, _ in pairs]

    return [
        Content({**_FILES, name: '\n'.join(lines).encode() + b'\n'}, name, name, right)
        for name, lines in written.items()
    ]


def _read_list(path: Path) -> list[Any]:
    root = path.parent
    return [
        (os.path.relpath(sample.image, root), sample.label and sample.label.name)
        for sample in lists.read_list(path, root)
    ]


def _splits(rng: np.random.Generator) -> list[Content]:
    files = {
        **_FILES,
        'dataset.yaml': b'classes: [road, car]\n',
        'train.txt': b'a\nsub/c.png\n',
        'val.txt': b'b\n',
    }

    def right(value: list[str]) -> bool:
        return value == ['a', 'sub/c']

    return [Content(files, 'train.txt', '', right, keeps_name=True)]


def _read_split(root: Path) -> list[str]:
    return [sample.name for sample in folder.find(root, 'train').samples]


def _annotations(rng: np.random.Generator) -> list[Content]:
    outline = [[5, 5, 60, 5, 60, 50, 5, 50]]
    runs = {'counts': [100, 1500, 4800], 'size': [80, 80]}
    packed = {'counts': 'T3l^1Pf4', 'size': [80, 80]}
    images = [
        {'id': 1, 'file_name': 'a.jpg', 'height': 80, 'width': 80},
        {'id': 2, 'file_name': 'b.jpg', 'height': 80, 'width': 80},
        {'id': 3, 'file_name': 'c.jpg', 'height': 80, 'width': 80},
    ]
    annotations = [
        {'image_id': 1, 'category_id': 1, 'id': 11, 'area': 2475, 'segmentation': outline},
        {'image_id': 1, 'category_id': 3, 'id': 12, 'area': 1500, 'segmentation': runs},
        {'image_id': 2, 'category_id': 18, 'id': 13, 'segmentation': outline},
        {'image_id': 3, 'category_id': 18, 'id': 14, 'area': 1500, 'segmentation': packed},
    ]
    document = json.dumps({'images': images, 'annotations': annotations}).encode()
    target = 'annotations/instances_train2017.json'
    files = {target: document, **{f'train2017/{name}.jpg': b'' for name in 'abc'}}

    def right(value: list[Any]) -> bool:
        return [name for name, _ in value][:2] == ['a', 'b'] and bool((value[1][1] == 12).any())

    return [Content(files, target, '', right, keeps_name=True)]


def _read_annotations(root: Path) -> list[Any]:
    return [
        (sample.name, cocoseg21.decode(sample.label, sample.key))
        for sample in cocoseg21.find(root, 'train').samples
        if sample.label and sample.key
    ]


READERS = (
    Reader('list', _lists, _read_list, texts.OF_LISTS, share=4),
    Reader('split_list', _splits, _read_split, texts.OF_LISTS),
    Reader('coco_json', _annotations, _read_annotations, texts.OF_JSON, share=4),
)
