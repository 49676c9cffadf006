"""COCOSeg21: instances of COCO 2017 as the 20 kinds of objects of PASCAL VOC, and background.

Lin et al., ECCV 2014, arXiv:1405.0312. The reduction is that of TI's EdgeAI-Lite networks:
TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5, references/
edgeailite/edgeai_xvision/xvision/datasets/coco_plus.py. Annotations of other categories are
dropped, outlines become masks, and a pixel that two instances cover is ignored. Only images whose
remaining annotations have a total area of more than 1000 pixels are kept.

Differs from the original: that takes the label modulo 21 at the end, which makes 255, ignored, the
class 3, bird. Here 255 stays. (TexasInstruments/edgeai-benchmark has no modulo either.) Where
annotations have no area, it is counted in the mask.

One JSON file contains the labels of all images of a split. The file is read once, when the split is
opened. The key of a sample contains its outlines, so worker processes need not read the file.
"""

import json
import zlib
from pathlib import Path

import numpy as np

from common.reading import json_text
from common.terminal.short_repr import short_text
from datasets import pixel_limit
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import coco_files, coco_masks, cocostuff164k, layout, trees, voc
from datasets.readers.contract import Archive, Preparation
from datasets.samples import FoundSamples, Sample

CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
MIN_AREA_PIXELS = 1000  # the annotations of a kept image cover more in total
INFO = DatasetInfo(
    'cocoseg21',
    voc.INFO.classes,
    voc.INFO.palette,
    layout='annotations/instances_{train2017,val2017}.json and {train2017,val2017}/*.jpg, '
    'or images/{train2017,val2017}/*.jpg',
    source='To download it: python -m datasets.prepare cocoseg21 --download',
    marks=('annotations/instances_train2017.json', 'annotations/instances_val2017.json'),
)
PREPARATION = Preparation(
    archives=(
        *cocostuff164k.photographs(),
        Archive(
            ('http://images.cocodataset.org/annotations/annotations_trainval2017.zip',),
            252907541,
            {
                f'annotations/instances_{split}2017.json':
                f'annotations/instances_{split}2017.json'
                for split in ('train', 'val')
            },
            ('sha1', '8551ee4bb5860311e79dace7e79cb91e432e78b3'),  # also from gluon-cv
        ),
    ),
)  # fmt: skip


def find(root: Path, split: str) -> FoundSamples:
    """Return the kept images of a split, sorted by name; raises ``DataError``."""
    annotations = root / 'annotations' / f'instances_{split}2017.json'
    if not annotations.is_file():
        raise DataError(f'{annotations} is missing; expected: {INFO.layout}. {INFO.source}')
    folders = [root / 'images' / f'{split}2017', root / f'{split}2017']
    folder = next((path for path in folders if path.is_dir()), folders[-1])
    images = layout.listing(folder, layout.IMAGES)
    samples = []
    for file_name, key in _label_keys(annotations):
        name = Path(file_name).stem
        if name not in images:
            raise DataError(f'{folder / short_text(file_name)} is missing; {annotations} names it')
        samples.append(Sample(name, images[name], annotations, key))
    samples.sort(key=lambda sample: sample.name)
    return FoundSamples(
        tuple(samples),
        trees.without(
            images,
            {sample.name for sample in samples},
            f'its classes cover at most {MIN_AREA_PIXELS} pixels',
        ),
    )


def decode(path: Path, key: bytes) -> np.ndarray:
    """Draw the label map of a sample.

    Args:
        path: The annotation file; not read.
        key: The key of the sample, with the outlines.

    Returns:
        (H, W) uint8, class indices; 255 for ignored pixels.
    """
    height, width, instances = json.loads(zlib.decompress(key))
    pixel_limit.check_label(width, height, path)
    labels = np.zeros((width, height), np.uint8)  # by columns, as masks are in memory
    once, twice = np.zeros((2, width, height), bool)
    for index, segmentation in instances:
        mask = coco_masks.draw(segmentation, height, width).T
        labels[mask] = index
        twice |= once & mask
        once |= mask
    labels[twice] = IGNORE
    return np.ascontiguousarray(labels.T)


def _label_keys(path: Path) -> list[tuple[str, bytes]]:
    """Return file name and key of each kept image.

    A key is the compressed JSON of height, width and instances. Until this function returns, the
    parsed file takes eight times its size in memory; the keys take a fifth of its size.

    Raises:
        DataError: The file does not contain instance annotations.
    """
    content = coco_files.read(path)
    images = coco_files.images(content, path)
    annotations = coco_files.by_image(coco_files.entries(content, 'annotations', path), path)
    keys = []
    for id_, image in images.items():
        shape = image['height'], image['width']
        found = [a for a in annotations.get(id_, []) if a['category_id'] in CATEGORIES]
        coco_files.check_segmentations(found, *shape, path)
        areas = [_area(annotation, *shape, path) for annotation in found]
        if sum(areas) > MIN_AREA_PIXELS:
            parts = [[CATEGORIES.index(a['category_id']), a['segmentation']] for a in found]
            outlines = json.dumps([*shape, parts], separators=(',', ':'))
            keys.append((image['file_name'], zlib.compress(outlines.encode())))
    return keys


def _area(annotation: dict, height: int, width: int, path: Path) -> float:
    """Return the area of an annotation in pixels; raise ``DataError`` if it is no number."""
    if 'area' not in annotation:
        pixel_limit.check_label(width, height, path)
        return int(coco_masks.draw(annotation['segmentation'], height, width).sum())
    area = annotation['area']
    if not json_text.is_number(area):
        raise DataError(f'{coco_files.place(annotation, path)}: its area is no number of pixels')
    return area
