"""Data sets by name. Each has a module that owns its classes, colours, files and splits.

    dataset = datasets.open('cityscapes', 'data/cityscapes', 'val')
    image, label = dataset.pair(0)      # uint8 BGR (H, W, 3); class indices (H, W), 255 ignored

A module has ``INFO``, ``find(root, split)``, which returns samples, and ``decode(path)``, which
reads a label file; where there is a test server, ``submission(sample, labels)`` too, which returns
the official file name and what goes into it.
"""

import difflib
import os
from pathlib import Path

from datasets import camvid, cityscapes
from datasets.dataset import Dataset, Sample
from datasets.info import IGNORE, DataError, Info, distinct_colours
from datasets.lists import read_list

__all__ = [
    'IGNORE',
    'DataError',
    'Dataset',
    'Info',
    'Sample',
    'distinct_colours',
    'info',
    'module',
    'names',
    'open',
]

MODULES = {'cityscapes': cityscapes, 'camvid': camvid}
TRAINVAL = 'trainval'


def names() -> list[str]:
    """Every data set name."""
    return list(MODULES)


def module(name: str):
    """The module of a data set; ``DataError`` with the nearest names when there is none."""
    if name not in MODULES:
        nearest = difflib.get_close_matches(str(name), MODULES, n=3, cutoff=0.5) or list(MODULES)
        raise DataError(f'no data set is called {name!r}; the nearest are {", ".join(nearest)}')
    return MODULES[name]


def info(name: str) -> Info:
    """Classes and colours of a data set; raises ``DataError``."""
    return module(name).INFO


def open(
    name: str, root: str | os.PathLike, split: str, list_file: str | os.PathLike | None = None
) -> Dataset:
    """The samples of a split below ``root``; raises ``DataError`` when there are none.

    split: one of ``info(name).splits``, or ``trainval``. list_file: a text file with an image and
    a label a line, which takes the place of what the module finds.
    """
    reader, root = module(name), Path(root)
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; expected there: {reader.INFO.layout}')
    if split not in (*reader.INFO.splits, TRAINVAL):
        known = ', '.join((*reader.INFO.splits, TRAINVAL))
        raise DataError(f'{name} has no split {split!r}; there are {known}')
    if list_file is not None:
        samples = read_list(Path(list_file), root)
    elif split == TRAINVAL and TRAINVAL not in reader.INFO.splits:
        samples = [*reader.find(root, 'train'), *reader.find(root, 'val')]
    else:
        samples = reader.find(root, split)
    if not samples:
        raise DataError(
            f'{root}: nothing found for the split {split}; expected: {reader.INFO.layout}'
        )
    return Dataset(reader.INFO, split, tuple(samples), reader.decode)
