"""COCO-Stuff 164k: all images of COCO 2017, 80 kinds of things and 91 of stuff.

Caesar, Uijlings and Ferrari, CVPR 2018, arXiv:1612.03716. Names are those of nightrome/cocostuff,
labels.txt, commit 876a7db61f4957888b609011df25e039e512fb48, which counts from 0, unlabelled, to
182. The PNG files (``stuffthingmaps_trainval2017``) have these numbers minus 1, and 255 for
unlabelled. 11 of the 182 were never used, so there are 171 classes. Their colours are chosen by
this project.

Converted files ``*_labelTrainIds.png``, with the 171 class indices and 255, take precedence.
"""

from pathlib import Path

import cv2
import numpy as np

from datasets.info import IGNORE, DatasetInfo, distinct_colours
from datasets.readers import label_files, layout, trees
from datasets.readers.contract import Archive, LabelEndings, Preparation
from datasets.samples import FoundSamples, Sample

CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat',
    'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack',
    'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball',
    'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket',
    'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
    'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair',
    'couch', 'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote',
    'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book',
    'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush', 'banner', 'blanket',
    'branch', 'bridge', 'building-other', 'bush', 'cabinet', 'cage', 'cardboard', 'carpet',
    'ceiling-other', 'ceiling-tile', 'cloth', 'clothes', 'clouds', 'counter', 'cupboard',
    'curtain', 'desk-stuff', 'dirt', 'door-stuff', 'fence', 'floor-marble', 'floor-other',
    'floor-stone', 'floor-tile', 'floor-wood', 'flower', 'fog', 'food-other', 'fruit',
    'furniture-other', 'grass', 'gravel', 'ground-other', 'hill', 'house', 'leaves', 'light',
    'mat', 'metal', 'mirror-stuff', 'moss', 'mountain', 'mud', 'napkin', 'net', 'paper',
    'pavement', 'pillow', 'plant-other', 'plastic', 'platform', 'playingfield', 'railing',
    'railroad', 'river', 'road', 'rock', 'roof', 'rug', 'salad', 'sand', 'sea', 'shelf',
    'sky-other', 'skyscraper', 'snow', 'solid-other', 'stairs', 'stone', 'straw',
    'structural-other', 'table', 'tent', 'textile-other', 'towel', 'tree', 'vegetable',
    'wall-brick', 'wall-concrete', 'wall-other', 'wall-panel', 'wall-stone', 'wall-tile',
    'wall-wood', 'water-other', 'waterdrops', 'window-blind', 'window-other', 'wood',
)  # fmt: skip
# Numbers of street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair
# brush.
UNUSED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
# The numbers of the 171 classes in labels.txt.
NUMBERS = tuple(number for number in range(1, 183) if number not in UNUSED)
INFO = DatasetInfo(
    'cocostuff164k',
    CLASSES,
    distinct_colours(len(CLASSES)),
    layout='images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png',
    source='To download it: python -m datasets.prepare cocostuff164k --download',
    marks=('annotations/train2017', 'annotations/val2017'),
)
CONVERTED = '_labelTrainIds'  # suffix used by open-mmlab/mmsegmentation, tools/dataset_converters
CALVIN = 'http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset'


def photographs(folder: str = '') -> tuple[Archive, ...]:
    """Return the archives of COCO 2017's photographs, unpacked into ``folder``.

    The test split is left out, because it has no labels.
    """
    digests = {  # SHA-1 from dmlc/gluon-cv, scripts/datasets/mscoco.py
        'train': (19336861798, '10ad623668ab00c62c096f0ed636d6aff41faca5'),
        'val': (815585330, '4950dc9d00dbe1c933ee0170f5797584351d2a41'),
    }
    return tuple(
        Archive(
            (f'http://images.cocodataset.org/zips/{split}2017.zip',),
            size,
            {f'{split}2017': f'{folder}{split}2017'},
            ('sha1', digest),
        )
        for split, (size, digest) in digests.items()
    )


PREPARATION = Preparation(
    archives=(
        *photographs('images/'),
        Archive(
            (f'{CALVIN}/stuffthingmaps_trainval2017.zip',),  # no digest is published
            691e6,
            {'train2017': 'annotations/train2017', 'val2017': 'annotations/val2017'},
        ),
    ),
    label_endings=LabelEndings('.png', f'{CONVERTED}.png'),
)
_MEANINGS = label_files.values_table(
    {255: IGNORE} | {number - 1: index for index, number in enumerate(NUMBERS)}
)
_CATEGORY_OF_CLASS = np.zeros(256, np.uint8)
_CATEGORY_OF_CLASS[: len(NUMBERS)] = NUMBERS


def find(root: Path, split: str) -> FoundSamples:
    """Return the samples of a split."""
    labels = root / 'annotations' / f'{split}2017'
    folder = root / 'images' / f'{split}2017'
    images = layout.listing(folder, layout.IMAGES)
    found = layout.pair(images, converted_first(labels), lambda name: labels / f'{name}.png')
    return found.with_unused(trees.left_in(folder, images.values(), layout.IMAGES))


def converted_first(folder: Path, endings: tuple[str, ...] = layout.PNG) -> dict[str, Path]:
    """Return the label files of a folder by image name; converted files take precedence."""
    converted = layout.listing(folder, layout.PNG, CONVERTED)
    published = layout.listing(folder, endings)
    return {name: path for name, path in published.items() if not name.endswith(CONVERTED)} | (
        converted
    )


def decode(path: Path) -> np.ndarray:
    """Return the class indices of a converted or a published PNG; the file name shows which.

    Returns:
        (H, W) uint8; 255 for ignored pixels.

    Raises:
        InputError: The file cannot be used.
    """
    values = label_files.read_indices(path)
    if path.stem.endswith(CONVERTED):
        return values
    return label_files.translate(values, _MEANINGS, path)


SUBMITTED_WITH_PALETTE = False


def submission(sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """Return name and content of a file for the official tool: category ids, 8-bit grey PNG.

    nightrome/cocostuffapi, PythonAPI/pycocotools/cocostuffhelper.py, pngToCocoResult, takes a pixel
    value as ``category_id``: the number in labels.txt, which is one more than the value in a
    published label file. 0 is unlabelled.
    """
    return f'{sample.image.stem}.png', cv2.LUT(labels, _CATEGORY_OF_CLASS)
