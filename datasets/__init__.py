"""Data sets by name. Each has a module that owns its classes, colours, files and splits.

    dataset = datasets.open('cityscapes', 'data/cityscapes', 'val')
    image, label = dataset.pair(0)      # uint8 BGR (H, W, 3); class indices (H, W), 255 ignored

A module has ``INFO``, ``find(root, split)``, which returns samples, and ``decode(path)``, which
reads a label file. Where there is a test server, ``submission(sample, labels)`` returns the file
name it wants and what goes in, with the palette if ``SUBMITTED_WITH_PALETTE``. Where the classes
depend on the root, as in data of one's own, ``info(root)`` and ``decoder(root)`` take the places of
``INFO`` and ``decode``.
"""

import difflib
import os
from pathlib import Path

from datasets.dataset import Dataset, Sample
from datasets.info import IGNORE, DataError, DatasetInfo, distinct_colours
from datasets.readers import (
    ade20k,
    ade20k32,
    camvid,
    cityscapes,
    cocoseg21,
    cocostuff10k,
    cocostuff164k,
    folder,
    layout,
    voc,
)
from datasets.readers.lists import read_list

__all__ = [
    'IGNORE',
    'DataError',
    'Dataset',
    'DatasetInfo',
    'Sample',
    'distinct_colours',
    'info',
    'module',
    'names',
    'open',
]

MODULES = {
    module.INFO.name: module
    for module in (
        cityscapes,
        camvid,
        ade20k,
        ade20k32,
        voc,
        cocostuff164k,
        cocostuff10k,
        cocoseg21,
        folder,
    )
}
TRAINVAL = 'trainval'
WITHOUT_LABELS = 'test'  # the only split whose images may be without labels


def names() -> list[str]:
    """Every data set name."""
    return list(MODULES)


def module(name: str):
    """The module of a data set; ``DataError`` with the nearest names when there is none."""
    if name not in MODULES:
        nearest = difflib.get_close_matches(str(name), MODULES, n=3, cutoff=0.5) or list(MODULES)
        raise DataError(f'no data set is called {name!r}; the nearest are {", ".join(nearest)}')
    return MODULES[name]


def info(name: str, root: str | os.PathLike | None = None) -> DatasetInfo:
    """Classes and colours of a data set; raises ``DataError``.

    root: where it is, which data of one's own needs; without it, such data has no classes here.
    """
    reader = module(name)
    if root is None or not hasattr(reader, 'info'):
        return reader.INFO
    return reader.info(layout.locate(Path(root), reader.INFO, _others(name)))


def open(
    name: str,
    root: str | os.PathLike,
    split: str,
    list_file: str | os.PathLike | None = None,
    *,
    complete: bool = True,
) -> Dataset:
    """The samples of a split below ``root``; raises ``DataError`` when there are none.

    split: one of ``info(name).splits``, or ``trainval``. list_file: a file with an image and a
    label a line (see lists.py), which takes the place of what the module finds. complete: an image
    without a label is an error, except in a test split; otherwise its sample names the label file
    that should be there, so that one can report them all.
    """
    reader, root = module(name), Path(root)
    _check_split(reader.INFO, split)
    if list_file is None or hasattr(reader, 'info'):
        root = layout.locate(root, reader.INFO, _others(name))
    if list_file is not None:
        samples = read_list(Path(list_file), root)
    elif split == TRAINVAL and TRAINVAL not in reader.INFO.splits:
        samples = [*reader.find(root, 'train'), *reader.find(root, 'val')]
    else:
        samples = reader.find(root, split)
    if not samples:
        raise DataError(
            f'{list_file or root}: nothing found for the split {split}; '
            f'expected: {reader.INFO.layout}'
        )
    _check_names(samples)
    if complete and split != WITHOUT_LABELS:
        _check_labels(samples)
    decode = reader.decoder(root) if hasattr(reader, 'decoder') else reader.decode
    return Dataset(info(name, root), split, tuple(samples), decode)


def _others(name: str) -> list[DatasetInfo]:
    return [other.INFO for key, other in MODULES.items() if key != name]


def _check_split(known: DatasetInfo, split: str):
    splits = tuple(dict.fromkeys((*known.splits, TRAINVAL)))
    if split not in splits:
        raise DataError(f'{known.name} has no split {split!r}; there are {", ".join(splits)}')


def _check_names(samples: list[Sample]):
    """Results are written under the names."""
    seen = {}
    for sample in samples:
        if sample.name in seen:
            raise DataError(
                f'{sample.image} and {seen[sample.name]} are both called {sample.name}; an image '
                'may be in a split, or in train and val together, only once'
            )
        seen[sample.name] = sample.image


def _check_labels(samples: list[Sample]):
    folders = {sample.label.parent for sample in samples if sample.label}
    there = {path: set(os.listdir(path)) if path.is_dir() else set() for path in folders}
    missing = [
        sample
        for sample in samples
        if sample.label is None or sample.label.name not in there[sample.label.parent]
    ]
    if missing:
        first = missing[0]
        wanted = f', {first.label} is not there' if first.label else ''
        raise DataError(
            f'{first.image}: no label{wanted}; {len(missing)} of {len(samples)} images have none: '
            'complete the labels, or move these images away'
        )
