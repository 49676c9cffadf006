"""COCO-Stuff 10k: 10,000 images of COCO 2014 in two lists, the 171 classes of COCO-Stuff.

Caesar, Uijlings and Ferrari, CVPR 2018, arXiv:1612.03716; nightrome/cocostuff10k, commit
5fe3850d547ae4b21d73307dd156dfc5c5c61c5c, version 1.1. The field ``S`` of the MAT-files has 0 for
unlabelled and the numbers 1 to 182 of labels.txt, of which 171 are used. The validation split is
the authors' test list.

A converted label file takes precedence: ``*_labelTrainIds.png`` beside the MAT-file, with class
indices from 0 and 255 for unlabelled (not mmsegmentation's files of that name, which count from 1).
PNG files of other names, as in DDRNet's lists, contain the values of ``S``.
"""

import io
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets.dataset import FoundSamples, Sample
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import cocostuff164k, label_files, layout, lists
from datasets.readers.contract import Archive, LabelEndings, Preparation

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
    return cocostuff164k.read_png(path, _MEANINGS)


SUBMITTED_WITH_PALETTE = False


def submission(sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """Return name and content of a file with the values of COCO-Stuff 164k, an 8-bit grey PNG."""
    return cocostuff164k.submission(sample, labels)


def _read_mat(path: Path) -> np.ndarray:
    import scipy.io  # imported here, because it costs every worker process 60 ms

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=['S'])
    except Exception as error:  # scipy raises many types on damaged bytes, such as zlib.error
        raise InputError(
            f'{path}: damaged or truncated MAT-file ({" ".join(str(error).split())}); '
            'download it again'
        ) from error
    values = content.get('S')
    if values is None or values.ndim != 2 or values.dtype != np.uint8:
        raise InputError(f'{path}: contains no label map S; is it an annotation of COCO-Stuff 10k?')
    return np.ascontiguousarray(values)
