"""COCOSeg21: instances of COCO 2017 as the 20 kinds of objects of PASCAL VOC, and background.

Lin et al., ECCV 2014, arXiv:1405.0312. The reduction is that of TI's EdgeAI-Lite networks:
TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5, references/
edgeailite/edgeai_xvision/xvision/datasets/coco_plus.py. Annotations of other categories are
dropped, outlines become masks, a pixel that two instances cover is ignored, and only images whose
remaining annotations have areas of more than 1000 pixels together are kept.

Differs from the original: that takes the label modulo 21 at the end, which makes 255, ignored, the
class 3, bird. Here 255 stays. (TexasInstruments/edgeai-benchmark has no modulo either.) Where
annotations have no area, it is counted in the mask.

The labels of all images of a split are in one JSON file, which is read once, when the split is
opened: a sample's key is what to draw, so that processes that decode labels need not read it.
"""

import json
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from datasets.dataset import Sample
from datasets.info import IGNORE, DataError, DatasetInfo
from datasets.readers import layout, voc

CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
LEAST_AREA = 1000  # pixels
INFO = DatasetInfo(
    'cocoseg21',
    voc.INFO.classes,
    voc.INFO.palette,
    layout='annotations/instances_{train2017,val2017}.json and {train2017,val2017}/*.jpg, '
    'or images/{train2017,val2017}/*.jpg',
    source='python -m datasets.prepare cocoseg21 --download fetches it',
    marks=('annotations/instances_train2017.json', 'annotations/instances_val2017.json'),
)


def find(root: Path, split: str) -> list[Sample]:
    """The images that have something of the 20 kinds, in the order of their names."""
    annotations = root / 'annotations' / f'instances_{split}2017.json'
    if not annotations.is_file():
        raise DataError(f'{annotations} is not there; expected: {INFO.layout}. {INFO.source}')
    folders = [root / 'images' / f'{split}2017', root / f'{split}2017']
    folder = next((path for path in folders if path.is_dir()), folders[-1])
    images = layout.listing(folder, layout.IMAGES)
    samples = []
    for file_name, key in _drawings(annotations):
        name = Path(file_name).stem
        if name not in images:
            raise DataError(f'{folder / file_name} is not there, which {annotations} names')
        samples.append(Sample(name, images[name], annotations, key))
    return sorted(samples, key=lambda sample: sample.name)


def decode(path: Path, key: bytes) -> np.ndarray:
    """Class indices, ``uint8`` (H, W), 255 ignored, of the drawing ``key``; ``path``, the file that
    it was taken from, is not read.
    """
    height, width, instances = json.loads(zlib.decompress(key))
    labels = np.zeros((height, width), np.uint8)
    covered = np.zeros((height, width), np.uint8)
    for index, segmentation in instances:
        mask = draw(segmentation, height, width)
        labels[mask] = index
        covered += mask & (covered < 2)
    labels[covered > 1] = IGNORE
    return labels


def draw(segmentation, height: int, width: int) -> np.ndarray:
    """A COCO segmentation as a mask, bool (H, W): polygons, or an RLE with counts as numbers or as
    text.
    """
    if isinstance(segmentation, dict):
        counts = segmentation['counts']
        runs = _uncompressed(counts) if isinstance(counts, str) else counts
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return values.reshape(width, height).T  # RLEs run down the columns
    mask = np.zeros((height, width), bool)
    for polygon in segmentation:
        mask |= _filled(np.array(polygon, np.float64).reshape(-1, 2), height, width)
    return mask


def _uncompressed(text: str) -> list[int]:
    """The run lengths in an RLE's text (cocoapi, common/maskApi.c, rleFrString): digits of 5 bits,
    low ones first, with a sixth for "more follows"; from the fourth run on, the difference to the
    run before the last.
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


def _filled(polygon: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inside of a polygon (points, 2) of x, y, as bool (H, W), to the pixel as COCO's tools.

    cocoapi, common/maskApi.c, rleFrPoly: the outline is drawn on a grid five times as fine; where
    it crosses the middle of a pixel column, the mask changes from there down.
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
    """The grid points of a line, (2, points), one a step of its longer side, in its direction."""
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


def _drawings(path: Path) -> list[tuple[str, bytes]]:
    """Of the images that are kept: file name, and JSON of height, width and instances, compressed.

    The file becomes Python objects of eight times its size, which are gone on return; what is kept
    is a fifth of it. Raises ``DataError``.
    """
    try:
        content = json.loads(path.read_bytes())
        kept = defaultdict(list)
        for annotation in content['annotations']:
            if annotation['category_id'] in CATEGORIES:
                kept[annotation['image_id']].append(annotation)
        drawings = []
        for image in content['images']:
            shape = image['height'], image['width']
            found = kept[image['id']]
            if sum(_area(annotation, *shape) for annotation in found) > LEAST_AREA:
                parts = [[CATEGORIES.index(a['category_id']), a['segmentation']] for a in found]
                drawing = json.dumps([*shape, parts], separators=(',', ':'))
                drawings.append((image['file_name'], zlib.compress(drawing.encode())))
        return drawings
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: not instance annotations of COCO ({error!r})') from error


def _area(annotation: dict, height: int, width: int) -> float:
    if 'area' in annotation:
        return annotation['area']
    return draw(annotation['segmentation'], height, width).sum()
