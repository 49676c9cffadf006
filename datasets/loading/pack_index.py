"""Write, read and check the index of packed data.

``index.json`` has the classes and, for every sample, its shape, its offsets, the CRC-32 of its
bytes, and the size and modification time of its source files. It also has the settings with which
the images were read. Arrays are mapped where the index says, so every number of it is checked.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from common import files
from common.errors import UserError
from common.reading import json_text
from common.reading.json_text import is_count
from common.terminal.short_repr import short_repr
from datasets.dataset import Dataset, Sample
from datasets.info import DataError, DatasetInfo
from datasets.keys import ImageReading

FORMAT_VERSION = 2
INDEX, IMAGES, LABELS = FILES = 'index.json', 'images.bin', 'labels.bin'
MAX_INDEX_BYTES = 1 << 30
_TEXTS = ('name', 'layout', 'source', 'unmarked', 'beginning')  # of DatasetInfo
_LISTS = ('classes', 'splits', 'categories', 'folders', 'marks')
_FACTS = {*_TEXTS, *_LISTS, 'palette'}


@dataclass(frozen=True)
class PackedSample:
    """Shape, position and checksums of a sample.

    Attributes:
        height: Pixels.
        width: Pixels.
        offsets: Positions in bytes in ``images.bin`` and in ``labels.bin``.
        checksums: CRC-32 of the image and of the label.
        sources: Size in bytes and modification time in ns, of the image file and of the label file.
    """

    height: int
    width: int
    offsets: tuple[int, int]
    checksums: tuple[int, int]
    sources: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class PackIndex:
    """The content of ``index.json``.

    Attributes:
        info: Facts about the data set.
        split: Name of the split.
        reading: Settings with which the images were read.
        samples: The samples with their source files, in order.
        entries: Their places in the packed files.
    """

    info: DatasetInfo
    split: str
    reading: ImageReading
    samples: tuple[Sample, ...]
    entries: tuple[PackedSample, ...]


def write(
    dataset: Dataset, folder: Path, labels: Sequence[Path], entries: Sequence[PackedSample]
) -> None:
    """Write the index of a packed split.

    Args:
        dataset: The split.
        folder: The folder of the packed data.
        labels: The label files of its samples.
        entries: The places of its samples.
    """
    document = {
        'version': FORMAT_VERSION,
        'info': {key: fact for key, fact in asdict(dataset.info).items() if key in _FACTS},
        'split': dataset.split,
        'reading': dataset.reading.conversion,
        'samples': [
            [sample.name, str(sample.image.resolve()), str(label.resolve())]
            for sample, label in zip(dataset, labels)
        ],
        'entries': [list(asdict(entry).values()) for entry in entries],
    }
    (folder / INDEX).write_text(json.dumps(document), encoding='utf-8')


def read(folder: Path) -> PackIndex:
    """Read the index of a folder and compare it with the packed files.

    Raises:
        DataError: There is no index, it is damaged or of another version, or a file has another
            size: reading past the end of a mapping kills the process.
    """
    path = folder / INDEX
    if files.kind_of(path) is None:
        raise DataError(
            f'{folder}: no packed data set; python -m datasets.prepare --pack writes one'
        )
    try:
        document = json_text.read(path, dict, MAX_INDEX_BYTES)
    except UserError as error:
        raise DataError(f'{error}; pack the data set again') from error
    version = document.get('version')
    if version != FORMAT_VERSION:
        raise DataError(
            f'{folder}: packed by another version of the project ({short_repr(version)}, '
            f'not {FORMAT_VERSION}); pack the data set again'
        )
    samples, entries = (_list(document, key, path) for key in ('samples', 'entries'))
    if len(samples) != len(entries):
        _refuse(path, f'has {len(samples)} samples and {len(entries)} entries')
    index = PackIndex(
        _info(document.get('info'), path),
        _text(document.get('split'), 'split', path),
        _reading(document.get('reading', {}), path),
        tuple(_sample(each, number, path) for number, each in enumerate(samples)),
        tuple(_entries(entries, path)),
    )
    if len({sample.name for sample in index.samples}) < len(samples):
        _refuse(path, 'has two samples of one name')
    _check_length(folder, index.entries)
    return index


def _refuse(path: Path, problem: str) -> NoReturn:
    raise DataError(f'{path}: damaged, it {problem}; pack the data set again')


def _text(value: Any, key: str, path: Path) -> str:
    if not isinstance(value, str):
        _refuse(path, f'has no text as {key}')
    return value


def _list(document: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = document.get(key)
    if not isinstance(value, list):
        _refuse(path, f'has no list of {key}')
    return value


def _info(values: Any, path: Path) -> DatasetInfo:
    """Return the facts about the data set."""
    if not isinstance(values, dict) or not values.keys() <= _FACTS or 'name' not in values:
        _refuse(path, 'does not describe its data set')
    found: dict[str, Any] = {}
    for key in values.keys() & set(_TEXTS):
        found[key] = _text(values[key], key, path)
    for key in values.keys() & set(_LISTS):
        if key != 'categories' or values[key] is not None:
            found[key] = tuple(_text(each, key, path) for each in _list(values, key, path))
    found['palette'] = tuple(
        tuple(_counts(colour, 3, 'colour', path, most=255))
        for colour in _list(values, 'palette', path)
    )
    classes = found.get('classes', ())
    for key in ('palette', 'categories'):
        if not classes or key in found and len(found[key]) != len(classes):
            _refuse(path, f'has {len(classes)} classes and {len(found.get(key, ()))} in {key}')
    try:
        return DatasetInfo(**found)
    except (DataError, TypeError) as error:  # TypeError: a fact is missing
        raise DataError(f'{path}: {error}; pack the data set again') from error


def _reading(values: Any, path: Path) -> ImageReading:
    if not isinstance(values, dict):
        _refuse(path, 'does not say how its images were read')
    try:
        return ImageReading.of(values)
    except UserError as error:
        raise DataError(f'{path}: {error}; pack the data set again') from error


def _sample(values: Any, number: int, path: Path) -> Sample:
    if not isinstance(values, list) or len(values) != 3:
        _refuse(path, f'has no name, image and label of sample {number}')
    name, image, label = (_text(each, f'a name of sample {number}', path) for each in values)
    return Sample(name, Path(image), Path(label))


def _entries(entries: list[Any], path: Path) -> list[PackedSample]:
    """Return the places of the samples, which lie one after the other."""
    found, pixels = [], 0
    for number, values in enumerate(entries):
        what = f'sample {number}'
        if not isinstance(values, list) or len(values) != 5 or not isinstance(values[4], list):
            _refuse(path, f'has no place of {what}')
        height, width = _counts(values[:2], 2, f'size of {what}', path, least=1)
        offsets = _counts(values[2], 2, f'offset of {what}', path)
        if offsets != [3 * pixels, pixels]:
            _refuse(path, f'has a wrong offset of {what}')
        checksums = _counts(values[3], 2, f'checksum of {what}', path)
        image, label = (
            _counts(source, 2, f'source of {what}', path, least=-json_text.MAX_INTEGER)
            for source in (values[4] if len(values[4]) == 2 else (None, None))
        )
        found.append(
            PackedSample(
                height,
                width,
                (offsets[0], offsets[1]),
                (checksums[0], checksums[1]),
                ((image[0], image[1]), (label[0], label[1])),
            )
        )
        pixels += height * width
    return found


def _counts(
    values: Any,
    length: int,
    what: str,
    path: Path,
    least: int = 0,
    most: int = json_text.MAX_INTEGER,
) -> list[int]:
    """Return a list of whole numbers within bounds."""
    right = isinstance(values, list) and len(values) == length
    if not right or not all(is_count(value, least, most) for value in values):
        _refuse(path, f'has a wrong {what}')
    return values


def _check_length(folder: Path, entries: Sequence[PackedSample]) -> None:
    """Raise ``DataError`` for a packed file of another size."""
    pixels = sum(entry.height * entry.width for entry in entries)
    for name, expected in ((IMAGES, 3 * pixels), (LABELS, pixels)):
        path = folder / name
        found = path.stat().st_size if files.kind_of(path) == 'file' else 0
        if found != expected:
            raise DataError(f'{path}: {found} bytes instead of {expected}; pack the data set again')
