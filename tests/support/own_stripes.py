"""A user's own data set; ``--import own_stripes.py`` registers it.

Published labels have the values 0, 100 and 200, and 1 for void.
"""

import sys
from pathlib import Path

import numpy as np

import datasets
from datasets import IGNORE, DatasetInfo, Sample
from datasets.readers import label_files, layout
from datasets.readers.contract import Archive, LabelEndings, Preparation

INFO = DatasetInfo(
    'stripes',
    ('dark', 'grey', 'bright'),
    ((0, 0, 0), (128, 128, 128), (255, 255, 255)),
    layout='pictures/<split>/*.png and pictures/<split>/*_values.png',
    source='To download it: python -m datasets.prepare stripes --download',
    marks=('pictures',),
)
PUBLISHED, CONVERTED = '_values', '_indices'
PREPARATION = Preparation(
    archives=(Archive(('http://127.0.0.1:9/stripes.zip',), 1000, {'stripes-1.0': 'pictures'}),),
    remark='the pictures in {root} are made up',
    label_endings=LabelEndings(f'{PUBLISHED}.png', f'{CONVERTED}.png'),
)
_MEANINGS = label_files.values_table({0: 0, 100: 1, 200: 2, 1: IGNORE})


def find(root: Path, split: str) -> list[Sample]:
    """Return the samples of a split; converted labels take precedence."""
    folder = root / 'pictures' / split
    labels = layout.listing(folder, layout.PNG, PUBLISHED)
    labels |= layout.listing(folder, layout.PNG, CONVERTED)
    images = layout.listing(folder, layout.PNG)
    return [Sample(name, images[name], label) for name, label in sorted(labels.items())]


def decode(path: Path) -> np.ndarray:
    """Return class indices, (H, W) uint8, 255 for ignored pixels."""
    values = label_files.read_indices(path)
    if path.stem.endswith(CONVERTED):
        return values
    return label_files.translate(values, _MEANINGS, path)


datasets.register(sys.modules[__name__])
