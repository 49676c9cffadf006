"""COCO-Stuff 10k: 10,000 images of COCO 2014 in two lists, the 171 classes of COCO-Stuff.

Caesar, Uijlings and Ferrari, CVPR 2018, arXiv:1612.03716; nightrome/cocostuff10k, commit
5fe3850d547ae4b21d73307dd156dfc5c5c61c5c, version 1.1. The field ``S`` of the MAT-files has 0 for
unlabelled and the numbers 1 to 182 of labels.txt, of which 171 are used. The validation split is
the authors' test list.

A converted label file takes precedence: ``*_labelTrainIds.png`` beside the MAT-file, with class
indices from 0 and 255 for unlabelled. Files of that name which count from 1, with 0 for unlabelled,
are refused: open-mmlab/mmsegmentation, tools/dataset_converters/coco_stuff10k.py, commit
50546da85c96c6bb2cf386f179215ab54f82a3e3, writes such files. PNG files of other names, as in
DDRNet's lists, contain the values of ``S``.
"""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets import pixel_limit
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import cocostuff164k, label_files, layout, lists, mat_files
from datasets.readers.contract import Archive, LabelEndings, Preparation
from datasets.samples import FoundSamples, Sample

LISTS = {'train': 'train', 'val': 'test'}
INFO = DatasetInfo(
    'cocostuff10k',
    cocostuff164k.CLASSES,
    cocostuff164k.INFO.palette,
    layout='images/*.jpg, annotations/*.mat and imageLists/{train,test}.txt',
    source='To download it: python -m datasets.prepare cocostuff10k --download',
    marks=('imageLists', 'annotations/*.mat'),
)
PREPARATION = Preparation(
    archives=(  # no digest is published
        Archive((f'{cocostuff164k.CALVIN}/cocostuff-10k-v1.1.zip',), 2.0e9, {'': ''}),
    ),
    label_endings=LabelEndings('.mat', f'{cocostuff164k.CONVERTED}.png'),
)
_AFTER_LAST = len(cocostuff164k.CLASSES)  # the last class of files that count from 1
_REMEDY = (
    'write it again with python -m datasets.prepare cocostuff10k --convert, which needs the '
    'MAT-file beside it'
)
_MEANINGS = label_files.values_table(
    {0: IGNORE} | {number: index for index, number in enumerate(cocostuff164k.NUMBERS)}
)


def find(root: Path, split: str) -> FoundSamples:
    """Return the images in the list of a split; raises ``DataError``."""
    names = root / 'imageLists' / f'{LISTS[split]}.txt'
    if not names.is_file():
        raise DataError(
            f'{names} is missing; it lists the images of the split. Expected: {INFO.layout}'
        )
    images = layout.listing(root / 'images', layout.IMAGES)
    labels = root / 'annotations'
    known = cocostuff164k.converted_first(labels, ('.mat',))
    samples = [
        Sample(name, path, known.get(name) or labels / f'{name}.mat')
        for name, path in images.items()
    ]
    labelled = FoundSamples(tuple(sample for sample in samples if sample.name in known))
    list_files = [names.with_name(f'{name}.txt') for name in LISTS.values()]
    left = lists.not_listed(labelled, list_files)
    return layout.select_listed(FoundSamples(tuple(samples)), names).with_unused(left)


def decode(path: Path) -> np.ndarray:
    """Return class indices of a MAT-file or a PNG, (H, W) uint8, 255 for ignored pixels."""
    if path.suffix.lower() == '.mat':
        return label_files.translate(_read_mat(path), _MEANINGS, path)
    if path.stem.endswith(cocostuff164k.CONVERTED):
        return _read_converted(path)
    return label_files.translate(label_files.read_indices(path), _MEANINGS, path)


def _read_converted(path: Path) -> np.ndarray:
    """Return the class indices of a converted file; raises ``InputError`` if it counts from 1."""
    values = label_files.read_indices(path)
    from_one = _counts_from_one(values)
    if from_one is None:
        original = _original(path)
        if original is None:
            from_one = _folder_counts_from_one(path.parent, path.parent.stat().st_mtime_ns)
        else:
            labels = decode(original)
            from_one = np.array_equal(values, np.where(labels == IGNORE, 0, labels + 1))
    if from_one is None:
        raise InputError(
            f'{path}: has neither {IGNORE} nor {_AFTER_LAST}, nor has any file beside it, so '
            f'whether its classes count from 0 or from 1 is unknown; {_REMEDY}'
        )
    if from_one:
        raise InputError(
            f"{path}: its classes count from 1, with 0 for unlabelled, as mmsegmentation's "
            f'converter writes them; {_REMEDY}'
        )
    return values


def _counts_from_one(values: np.ndarray) -> bool | None:
    """Return whether the classes of a converted file count from 1; None if no value shows it."""
    used = label_files.occurring_values(values)
    if used[IGNORE]:
        return False
    return True if used[_AFTER_LAST] else None


def _original(converted: Path) -> Path | None:
    """Return the MAT-file of a converted file: beside it or, as mmsegmentation has it, above it."""
    name = converted.stem.removesuffix(cocostuff164k.CONVERTED) + '.mat'
    folders = converted.parent, converted.parent.parent
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


@lru_cache
def _folder_counts_from_one(folder: Path, changed: int) -> bool | None:
    """Return whether the files of a folder count from 1, as the first shows that can.

    Args:
        folder: A folder of converted files.
        changed: The time of its last change, so that files written since are not overlooked.
    """
    converted = folder.glob(f'*{cocostuff164k.CONVERTED}.png')
    for path in sorted(path for path in converted if path.is_file()):
        try:
            found = _counts_from_one(label_files.read_indices(path))
        except InputError:
            continue  # reported when this file is decoded
        if found is not None:
            return found
    return None


def _read_mat(path: Path) -> np.ndarray:
    try:
        values = mat_files.read_uint8(
            path.read_bytes(), 'S', partial(pixel_limit.check_label, path=path)
        )
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    except mat_files.MatError as error:
        raise InputError(
            f'{path}: damaged or truncated MAT-file ({error}); download it again'
        ) from error
    if values is None:
        raise InputError(f'{path}: contains no label map S; is it an annotation of COCO-Stuff 10k?')
    return np.ascontiguousarray(values)
