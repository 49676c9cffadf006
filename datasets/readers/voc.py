"""PASCAL VOC 2012 with the augmented labels: 20 kinds of objects and background.

Everingham et al., IJCV 2010. Hariharan et al., ICCV 2011 (SBD), added labels of further 9,000
images; the folder ``SegmentationClassAug`` contains them in the converted form that DeepLab made
common. If it is missing, ``SegmentationClass`` is read, which covers the original train and val.
Both contain class indices in palette PNGs, with 255 at the borders of objects.
"""

from pathlib import Path

import numpy as np

from datasets.info import DataError, DatasetInfo, distinct_colours
from datasets.readers import label_files, layout, lists
from datasets.readers.contract import Archive, Preparation
from datasets.samples import FoundSamples, Sample, UnusedFile

_CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip
INFO = DatasetInfo(
    'voc',
    _CLASSES,
    ((0, 0, 0), *distinct_colours(len(_CLASSES) - 1)),
    splits=('train', 'trainaug', 'val', 'test'),
    layout='JPEGImages/*.jpg, SegmentationClassAug/*.png or SegmentationClass/*.png, '
    'ImageSets/Segmentation/{trainaug,train,val}.txt',
    source='To download it: python -m datasets.prepare voc --download',
    folders=('.', 'VOC2012', 'VOCdevkit/VOC2012'),
    marks=('ImageSets/Segmentation', 'SegmentationClassAug', 'SegmentationClass'),
)
PREPARATION = Preparation(
    archives=(
        Archive(
            (
                'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
                'https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar',
            ),
            1999639040,
            {'VOCdevkit/VOC2012': ''},
            ('md5', '6cd6e144f989b92b3379bac3b3de84fd'),  # pytorch/vision, torchvision/datasets
        ),
    ),
    remark='the 10582 augmented training labels have no official download: they were made from the '
    'Semantic Boundaries Dataset (Hariharan et al. 2011, '
    'http://home.bharathh.info/pubs/codes/SBD/download.html); a converted copy is in the GitHub '
    'repository zzq96/Nested-unet, folder SegmentationClassAug; put it at '
    '{root}/SegmentationClassAug, with the names in {root}/ImageSets/Segmentation/trainaug.txt',
)
LABEL_FOLDERS = ('SegmentationClassAug', 'SegmentationClass')


def find(root: Path, split: str) -> FoundSamples:
    """Return the images in the list of a split.

    ``train`` is the augmented list of 10,582 images if it exists. Test images have no labels.

    Raises:
        DataError: The list, a listed image or the folder of labels is missing.
    """
    folder = root / 'ImageSets' / 'Segmentation'
    names = folder / f'{split}.txt'
    if split == 'train' and (folder / 'trainaug.txt').is_file():
        names = folder / 'trainaug.txt'
    if not names.is_file():
        raise DataError(
            f'{names} is missing; it lists the images of the split. Expected: {INFO.layout}'
        )
    labels = next((root / name for name in LABEL_FOLDERS if (root / name).is_dir()), None)
    images = layout.listing(root / 'JPEGImages', layout.IMAGES)
    if split == 'test':
        samples = [Sample(name, path, None) for name, path in images.items()]
        left: tuple[UnusedFile, ...] = ()
    elif labels is None:
        raise DataError(f'{root}: neither {" nor ".join(LABEL_FOLDERS)} exists; {INFO.source}')
    else:
        samples = [Sample(name, path, labels / f'{name}.png') for name, path in images.items()]
        known = layout.listing(labels, layout.PNG)
        labelled = FoundSamples(tuple(sample for sample in samples if sample.name in known))
        left = lists.not_listed(labelled, folder.glob('*.txt'), lambda line: line.split()[0])
    return layout.select_listed(FoundSamples(tuple(samples)), names).with_unused(left)


def decode(path: Path) -> np.ndarray:
    """Return class indices, (H, W) uint8, 255 for ignored pixels; raises ``InputError``."""
    return label_files.read_indices(path, INFO.palette)


SUBMITTED_WITH_PALETTE = True


def submission(sample: Sample, labels: np.ndarray) -> tuple[str, np.ndarray]:
    """Return name and content of a file for the test server: indices as a palette PNG."""
    return f'{sample.image.stem}.png', labels
