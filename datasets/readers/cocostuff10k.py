"""COCO-Stuff 10k: 10,000 images of COCO 2014 in two lists, the 171 classes of COCO-Stuff.

Caesar, Uijlings and Ferrari, CVPR 2018, arXiv:1612.03716; nightrome/cocostuff10k, commit
5fe3850d547ae4b21d73307dd156dfc5c5c61c5c, version 1.1. The MAT-files' field ``S`` has 0 for
unlabelled and the numbers 1 to 182 of labels.txt, of which 171 are used. The validation split is
the test list.

Label files may be converted: ``*_labelTrainIds.png`` beside the MAT-file, with class indices from
0 and 255 for unlabelled (not mmsegmentation's files of that name, which count from 1), is read
instead of it. PNG files of other names, as in DDRNet's lists, have the values of ``S``.
"""

import io
from pathlib import Path

import numpy as np

from common.errors import InputError
from datasets.dataset import Sample
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import cocostuff164k, label_files, layout
from datasets.readers.contract import Archive, LabelEndings, Preparation

LISTS = {'train': 'train', 'val': 'test'}
INFO = DatasetInfo(
    'cocostuff10k',
    cocostuff164k.CLASSES,
    cocostuff164k.INFO.palette,
    layout='images/*.jpg, annotations/*.mat and imageLists/{train,test}.txt',
    source='python -m datasets.prepare cocostuff10k --download fetches it',
    marks=('imageLists', 'annotations/*.mat'),
)
PREPARATION = Preparation(
    archives=(  # without a published digest
        Archive((f'{cocostuff164k.CALVIN}/cocostuff-10k-v1.1.zip',), 2.0e9, {'': ''}),
    ),
    label_endings=LabelEndings('.mat', f'{cocostuff164k.CONVERTED}.png'),
)
_MEANINGS = label_files.values_table(
    {0: IGNORE} | {number: index for index, number in enumerate(cocostuff164k.NUMBERS)}
)


def find(root: Path, split: str) -> list[Sample]:
    """The images that the list of a split names."""
    names = root / 'imageLists' / f'{LISTS[split]}.txt'
    if not names.is_file():
        raise DataError(
            f'{names} is not there, which names the images of the split; expected: {INFO.layout}'
        )
    images = layout.listing(root / 'images', layout.IMAGES)
    labels = root / 'annotations'
    known = cocostuff164k.converted_first(labels, ('.mat',))
    samples = [
        Sample(name, path, known.get(name) or labels / f'{name}.mat')
        for name, path in images.items()
    ]
    return layout.only(samples, names)


def decode(path: Path) -> np.ndarray:
    """Class indices, ``uint8`` (H, W), 255 ignored, of a MAT-file or a PNG."""
    if path.suffix.lower() == '.mat':
        return label_files.translate(_read_mat(path), _MEANINGS, path)
    return cocostuff164k.read_png(path, _MEANINGS)


SUBMITTED_WITH_PALETTE = False


def submission(sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """The values of the PNG files of the 164k, as an 8-bit grey PNG."""
    return cocostuff164k.submission(sample, labels)


def _read_mat(path: Path) -> np.ndarray:
    import scipy.io  # here, because every worker process would pay 60 ms for it

    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=['S'])
    except Exception as error:  # scipy raises whatever the bytes lead it to, zlib.error among them
        raise InputError(
            f'{path}: not a whole MAT-file ({" ".join(str(error).split())}); fetch it again'
        ) from error
    values = content.get('S')
    if values is None or values.ndim != 2 or values.dtype != np.uint8:
        raise InputError(f'{path}: no label map S in it; is it an annotation of COCO-Stuff 10k?')
    return np.ascontiguousarray(values)
