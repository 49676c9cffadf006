"""Cityscapes: urban street scenes, 19 evaluated classes.

Cordts et al., CVPR 2016, arXiv:1604.01685. Classes, ids, categories and colours are those of
mcordts/cityscapesScripts, cityscapesscripts/helpers/labels.py, in the order of the trainIds.

Label files contain either ids (``*_gtFine_labelIds.png``, as published) or trainIds
(``*_gtFine_labelTrainIds.png``, which cityscapesScripts makes from them); trainIds take precedence.
The files in ``gtFine/test`` are empty placeholders, so the test split has no labels.

A split contains all images of its folder. A file ``train.txt``, ``val.txt`` or ``test.txt`` in the
root, with a name such as ``aachen/aachen_000000_000019`` per line (the layout of
sony/ai-research-code, d3net/semantic-segmentation/segmentation_data.py), restricts the split to
these names.

Targets of other tasks than segmentation, and a second picture of each scene, are in
:mod:`datasets.readers.cityscapes_tasks`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from common.errors import InputError
from datasets.info import IGNORE, DatasetInfo
from datasets.keys import FLOW
from datasets.readers import cityscapes_tasks, label_files, layout, lists, trees
from datasets.readers.contract import LabelEndings, Preparation
from datasets.samples import ONE_IMAGE_AND_LABEL, FoundSamples, Sample, SceneFiles

_CLASSES = (  # name, id, category, colour
    ('road', 7, 'flat', (128, 64, 128)),
    ('sidewalk', 8, 'flat', (244, 35, 232)),
    ('building', 11, 'construction', (70, 70, 70)),
    ('wall', 12, 'construction', (102, 102, 156)),
    ('fence', 13, 'construction', (190, 153, 153)),
    ('pole', 17, 'object', (153, 153, 153)),
    ('traffic light', 19, 'object', (250, 170, 30)),
    ('traffic sign', 20, 'object', (220, 220, 0)),
    ('vegetation', 21, 'nature', (107, 142, 35)),
    ('terrain', 22, 'nature', (152, 251, 152)),
    ('sky', 23, 'sky', (70, 130, 180)),
    ('person', 24, 'human', (220, 20, 60)),
    ('rider', 25, 'human', (255, 0, 0)),
    ('car', 26, 'vehicle', (0, 0, 142)),
    ('truck', 27, 'vehicle', (0, 0, 70)),
    ('bus', 28, 'vehicle', (0, 60, 100)),
    ('train', 31, 'vehicle', (0, 80, 100)),
    ('motorcycle', 32, 'vehicle', (0, 0, 230)),
    ('bicycle', 33, 'vehicle', (119, 11, 32)),
)
_NAMES, _IDS, _CATEGORIES, _COLOURS = zip(*_CLASSES)
INFO = DatasetInfo(
    'cityscapes',
    _NAMES,
    _COLOURS,
    splits=('train', 'val', 'test'),
    layout='leftImg8bit/<split>/<city>/*_leftImg8bit.png and '
    'gtFine/<split>/<city>/*_gtFine_labelTrainIds.png or *_gtFine_labelIds.png',
    source='Register at https://www.cityscapes-dataset.com and download '
    'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip',
    categories=_CATEGORIES,
    marks=('leftImg8bit', 'gtFine'),
    others=(cityscapes_tasks.MOTION_CLASSES,),
    depths=(cityscapes_tasks.DEPTH,),
)
TRAIN_IDS, LABEL_IDS = '_gtFine_labelTrainIds', '_gtFine_labelIds'
PREPARATION = Preparation(
    elsewhere='register at https://www.cityscapes-dataset.com and unpack '
    'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into {root}; depth needs '
    'disparity_trainvaltest.zip and camera_trainvaltest.zip, optical flow '
    'leftImg8bit_sequence_trainvaltest.zip',
    label_endings=LabelEndings(f'{LABEL_IDS}.png', f'{TRAIN_IDS}.png'),
)
LAST_ID = 33
_MEANINGS = label_files.values_table(
    dict.fromkeys(range(LAST_ID + 1), IGNORE) | {id_: i for i, id_ in enumerate(_IDS)}
)
_ID_OF_CLASS = np.zeros(256, np.uint8)  # 0 is the id of unlabelled pixels
_ID_OF_CLASS[: len(_IDS)] = _IDS


def find(root: Path, split: str) -> FoundSamples:
    """Return the frames of all cities of a split, named ``city/frame``."""
    return find_scenes(root, split, ONE_IMAGE_AND_LABEL)


def first_input(root: Path) -> tuple[str, str]:
    """Return folder and kind of the first of two pictures of each scene: TI's optical flow."""
    return cityscapes_tasks.FLOW_FOLDER, FLOW


def target_decoder(root: Path, task: str) -> Callable[[Path], np.ndarray]:
    """Return the function that reads the targets of depth or motion."""
    return cityscapes_tasks.DECODERS[task]


def find_scenes(root: Path, split: str, wanted: SceneFiles) -> FoundSamples:
    """Return the frames of all cities of a split, with their pictures and targets."""
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    folders = root / 'leftImg8bit' / split, root / 'gtFine' / split
    for city in sorted({path.name for folder in folders for path in folder.glob('*/')}):
        frames = layout.listing(folders[0] / city, layout.PNG, '_leftImg8bit')
        truth = folders[1] / city
        known = layout.listing(truth, layout.PNG, LABEL_IDS)
        known |= layout.listing(truth, layout.PNG, TRAIN_IDS)
        images |= {f'{city}/{name}': path for name, path in frames.items()}
        labels |= {f'{city}/{name}': path for name, path in known.items()}
    if split == 'test':
        found = FoundSamples(
            tuple(Sample(name, path, None) for name, path in sorted(images.items()))
        )
    else:
        found = layout.pair(images, labels, lambda name: folders[1] / f'{name}{LABEL_IDS}.png')
    left = trees.left_in(folders[0], images.values(), layout.PNG)
    names = root / f'{split}.txt'
    if os.path.lexists(names):  # also a link to nothing or a pipe: reading it tells the fault
        left += lists.not_listed(found, [names])
        found = layout.select_listed(found, names)
    if wanted != ONE_IMAGE_AND_LABEL:
        found = cityscapes_tasks.with_scenes(found, root, split, wanted, images)
    return found.with_unused(left)


def decode(path: Path) -> np.ndarray:
    """Return class indices, (H, W) uint8, 255 if ignored; the file name shows the format."""
    values = label_files.read_indices(path)
    if path.stem.endswith('labelTrainIds'):
        return values
    if path.stem.endswith('labelIds'):
        return label_files.translate(values, _MEANINGS, path)
    raise InputError(
        f'{path}: not a label file of Cityscapes; its name must end in labelIds or labelTrainIds'
    )


SUBMITTED_WITH_PALETTE = False


def submission(sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """Return name and content of a file for the test server: ids as an 8-bit grey PNG."""
    return sample.image.name, cv2.LUT(labels, _ID_OF_CLASS)
