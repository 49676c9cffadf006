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
from collections import defaultdict
from pathlib import Path

import numpy as np

from datasets import pixel_limit
from datasets.dataset import FoundSamples, Sample
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import cocostuff164k, layout, trees, voc
from datasets.readers.contract import Archive, Preparation

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
            raise DataError(f'{folder / file_name} is missing; {annotations} names it')
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
    labels = np.zeros((height, width), np.uint8)
    covered = np.zeros((height, width), np.uint8)
    for index, segmentation in instances:
        mask = segmentation_mask(segmentation, height, width)
        labels[mask] = index
        covered += mask & (covered < 2)
    labels[covered > 1] = IGNORE
    return labels


def segmentation_mask(segmentation, height: int, width: int) -> np.ndarray:
    """Return the mask of a COCO segmentation, (H, W) bool.

    Args:
        segmentation: Polygons, or an RLE with its counts as numbers or as compressed text.
        height: Height of the image in pixels, H.
        width: Width of the image in pixels, W.
    """
    if isinstance(segmentation, dict):
        counts = segmentation['counts']
        runs = _decode_run_lengths(counts) if isinstance(counts, str) else counts
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return values.reshape(width, height).T  # an RLE runs down the columns
    mask = np.zeros((height, width), bool)
    for polygon in segmentation:
        mask |= _polygon_mask(np.array(polygon, np.float64).reshape(-1, 2), height, width)
    return mask


def _decode_run_lengths(text: str) -> list[int]:
    """Return the run lengths in the compressed text of an RLE.

    cocoapi, common/maskApi.c, rleFrString: digits of 5 bits, low ones first, with a sixth bit for
    "more follows". From the fourth run on, a number is the difference to the run before the last.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        digit = ord(character) - 48
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            if digit & 16:  # the sign
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _polygon_mask(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the interior of a polygon as (H, W) bool, pixel-exact with COCO's tools.

    cocoapi, common/maskApi.c, rleFrPoly: the outline is drawn on a grid five times as fine; where
    it crosses the middle of a pixel column, the mask changes from there down.

    Args:
        polygon: (points, 2) float64, x and y of the corners.
        height: Height of the image in pixels, H.
        width: Width of the image in pixels, W.
    """
    fine = 5
    corners = (fine * polygon + 0.5).astype(np.int64)
    x, y = np.concatenate(
        [_line(start, end) for start, end in zip(corners, np.roll(corners, -1, axis=0))], axis=1
    )
    steps = np.flatnonzero(np.diff(x))
    column = (np.minimum(x[steps], x[steps + 1]) + 0.5) / fine - 0.5
    row = (np.minimum(y[steps], y[steps + 1]) + 0.5) / fine - 0.5
    middle = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[middle], 0, height)).astype(np.int64)
    changes = np.bincount(
        column[middle].astype(np.int64) * height + row, minlength=height * width + 1
    )
    inside = np.cumsum(changes[: height * width]) % 2 == 1
    return inside.reshape(width, height).T


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the grid points of a line, (2, points), one per step along its longer axis."""
    length = np.abs(end - start)
    along = 0 if length[0] >= length[1] else 1
    backwards = start[along] > end[along]
    low, high = (end, start) if backwards else (start, end)
    offsets = np.arange(length[along] + 1)
    slope = (high[1 - along] - low[1 - along]) / max(length[along], 1)
    line = np.empty((2, len(offsets)), np.int64)
    line[along] = low[along] + offsets
    line[1 - along] = (low[1 - along] + slope * offsets + 0.5).astype(np.int64)
    return line[:, ::-1] if backwards else line


def _label_keys(path: Path) -> list[tuple[str, bytes]]:
    """Return file name and key of each kept image.

    A key is the compressed JSON of height, width and instances. Until this function returns, the
    parsed file takes eight times its size in memory; the keys take a fifth of its size.

    Raises:
        DataError: The file does not contain instance annotations.
    """
    try:
        content = json.loads(path.read_bytes())
        kept = defaultdict(list)
        for annotation in content['annotations']:
            if annotation['category_id'] in CATEGORIES:
                kept[annotation['image_id']].append(annotation)
        keys = []
        for image in content['images']:
            shape = image['height'], image['width']
            found = kept[image['id']]
            if sum(_area(annotation, *shape) for annotation in found) > MIN_AREA_PIXELS:
                parts = [[CATEGORIES.index(a['category_id']), a['segmentation']] for a in found]
                outlines = json.dumps([*shape, parts], separators=(',', ':'))
                keys.append((image['file_name'], zlib.compress(outlines.encode())))
        return keys
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: not a file of COCO instance annotations ({error!r})') from error


def _area(annotation: dict, height: int, width: int) -> float:
    if 'area' in annotation:
        return annotation['area']
    return segmentation_mask(annotation['segmentation'], height, width).sum()
