"""Packed data sets: decoded images and labels in two large files, mapped into memory.

    pack(dataset, 'packed/train', processes=4)
    dataset = pack.open('packed/train')     # a Dataset; a window reads only its own bytes

The folder holds ``images.bin`` (``uint8`` BGR), ``labels.bin`` (``uint8`` class indices, 255
ignored), one sample after the other, and ``index.json``: classes, and for every sample its shape,
its places, the CRC-32 of its bytes, and sizes and times of the files that it was made from.
"""

import json
import os
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from common.errors import InputError, UserError
from common.process_map import map_samples
from datasets.dataset import Dataset, Sample
from datasets.image_files import image_size
from datasets.info import DataError, DatasetInfo

VERSION = 2
INDEX, IMAGES, LABELS = 'index.json', 'images.bin', 'labels.bin'


@dataclass(frozen=True)
class Entry:
    """Where a sample is. offsets: in bytes, of images and labels. checksums: CRC-32 of the image
    and of the label. sources: size in bytes and time of change in ns of its image and label file.
    """

    height: int
    width: int
    offsets: tuple[int, int]
    checksums: tuple[int, int]
    sources: tuple[tuple[int, int], tuple[int, int]]


class _Files:
    """The two files of a folder, mapped when first used; each process maps them itself."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getstate__(self):
        return {'folder': self.folder}

    @cached_property
    def images(self) -> np.ndarray:
        return np.memmap(self.folder / IMAGES, np.uint8, 'r')

    @cached_property
    def labels(self) -> np.ndarray:
        return np.memmap(self.folder / LABELS, np.uint8, 'r')


@dataclass(frozen=True)
class PackedDataset(Dataset):
    """A data set that :func:`pack` has written; its arrays are read-only views of the files."""

    entries: dict[str, Entry] = field(kw_only=True, repr=False)
    files: _Files = field(kw_only=True, repr=False, compare=False)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image and its label."""
        entry = self._entry(index)
        return entry.height, entry.width

    def image(self, index: int) -> np.ndarray:
        """The image as ``uint8`` BGR (H, W, 3)."""
        entry = self._entry(index)
        shape = entry.height, entry.width, 3
        return _array(self.files.images, entry.offsets[0], shape)

    def decoded(self, index: int) -> np.ndarray:
        """Class indices, ``uint8`` (H, W), 255 where ignored."""
        entry = self._entry(index)
        return _array(self.files.labels, entry.offsets[1], (entry.height, entry.width))

    def label(self, index: int) -> np.ndarray:
        """The same; the values were checked when they were packed."""
        return self.decoded(index)

    def verify(self, processes: int = 1) -> list[str]:
        """Compare all bytes with their checksums; a line for each sample that differs."""
        return [line for line in map_samples(self, _differs, processes, 'checking') if line]

    def _entry(self, index: int) -> Entry:
        return self.entries[self.samples[index].name]


def _differs(packed: PackedDataset, index: int) -> str | None:
    found = _checksum(packed.image(index)), _checksum(packed.label(index))
    if found == packed._entry(index).checksums:
        return None
    return (
        f'{packed.files.folder}: {packed[index].name} is not as it was packed; pack the data set '
        'again'
    )


def folders(root: str | os.PathLike) -> list[Path]:
    """The packed data sets at ``root``: itself, or one a split in it; none where it is no such
    folder.
    """
    root = Path(root)
    found = [root, *sorted(path.parent for path in root.glob(f'[!.]*/{INDEX}'))]
    packed = [
        folder
        for folder in found
        if (folder / INDEX).is_file() and any((folder / x).is_file() for x in (IMAGES, LABELS))
    ]
    return packed[:1] if root in packed else packed


def pack(dataset: Dataset, folder: str | os.PathLike, processes: int = 1) -> PackedDataset:
    """Write a data set as arrays; a packed one that is there is replaced when all is written.

    Raises ``InputError`` for a bad sample, ``UserError`` when the files cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / INDEX).exists():
        raise UserError(f'{folder}: holds something else; name a new folder for packed data')
    partial_folder = folder.with_name(f'.{folder.name}.partial')
    for sample in dataset:
        if sample.label is None:
            raise DataError(f'{sample.image}: has no label; pack a split that has them')
    sizes = [image_size(sample.image) for sample in dataset]
    try:
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        entries = _write(dataset, partial_folder, sizes, processes)
        _write_index(dataset, partial_folder, entries)
        _replace_folder(partial_folder, folder)
    except OSError as error:
        raise UserError(f'{folder}: cannot be written ({error.strerror or error})') from error
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return open(folder)


def open(folder: str | os.PathLike) -> PackedDataset:
    """A packed data set; raises ``DataError`` when it is damaged, or older than its sources.

    Sources that are not there any more, or not on this machine, are not compared.
    """
    folder = Path(folder)
    _finish_replacing(folder)
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError as error:
        raise DataError(
            f'{folder}: no packed data set; python -m datasets.prepare --pack writes one'
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f'{folder / INDEX}: cannot be read ({error}); pack again') from error
    if index.get('version') != VERSION:
        raise DataError(
            f'{folder}: packed by another version of the project ({index.get("version")}, '
            f'not {VERSION}); pack the data set again'
        )
    samples = [Sample(name, Path(image), Path(label)) for name, image, label in index['samples']]
    entries = [Entry(*_tuples(entry)) for entry in index['entries']]
    _check_length(folder, entries)
    for sample, entry in zip(samples, entries):
        _check_sources(folder, sample, entry)
    info = DatasetInfo(**{key: _tuples(value) for key, value in index['info'].items()})
    return PackedDataset(
        info,
        index['split'],
        tuple(samples),
        decode=None,  # type: ignore[arg-type]  # its labels are arrays already
        entries={sample.name: entry for sample, entry in zip(samples, entries)},
        files=_Files(folder),
    )


def _write(dataset, folder: Path, sizes: Sequence[tuple[int, int]], processes: int) -> list[Entry]:
    """Fill the two files, each sample by the process that decodes it."""
    pixels = [height * width for height, width in sizes]
    starts = [0, *np.cumsum(pixels).tolist()]
    for name, channels in ((IMAGES, 3), (LABELS, 1)):
        with (folder / name).open('wb') as file:
            if starts[-1]:
                os.posix_fallocate(file.fileno(), 0, channels * starts[-1])  # or no space: now
    write = partial(_write_sample, folder=folder, sizes=sizes, starts=starts)
    return list(map_samples(dataset, write, processes, 'packing'))


def _write_sample(dataset: Dataset, index: int, folder: Path, sizes, starts) -> Entry:
    sample = dataset[index]
    sources = _fingerprint(sample.image), _fingerprint(_label_of(sample))
    image, label = dataset.pair(index)
    if image.shape[:2] != tuple(sizes[index]):
        raise InputError(f'{sample.image}: has changed while it was packed; pack again')
    offsets = 3 * starts[index], starts[index]
    for name, offset, array in zip((IMAGES, LABELS), offsets, (image, label)):
        with (folder / name).open('r+b') as file:
            file.seek(offset)
            file.write(np.ascontiguousarray(array).data)
    height, width = label.shape
    return Entry(height, width, offsets, (_checksum(image), _checksum(label)), sources)


def _label_of(sample: Sample) -> Path:
    assert sample.label is not None  # pack refuses a sample without
    return sample.label


def _write_index(dataset: Dataset, folder: Path, entries: Sequence[Entry]):
    document = {
        'version': VERSION,
        'info': asdict(dataset.info),
        'split': dataset.split,
        'samples': [
            [sample.name, str(sample.image.resolve()), str(_label_of(sample).resolve())]
            for sample in dataset
        ],
        'entries': [list(asdict(entry).values()) for entry in entries],
    }
    (folder / INDEX).write_text(json.dumps(document))


def _replace_folder(new: Path, target: Path):
    old = _set_aside(target)
    if target.exists():  # else the old one may be the only one
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _finish_replacing(folder: Path):
    """Bring back what :func:`_replace_folder` had set aside when it was killed."""
    old = _set_aside(folder)
    if not folder.exists() and (old / INDEX).is_file():
        with suppress(OSError):  # it is another's: then the folder is missing
            old.rename(folder)


def _set_aside(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.old')


def _check_length(folder: Path, entries: Sequence[Entry]):
    """Files that are too short: reading beyond the end of a mapping kills the process."""
    pixels = sum(entry.height * entry.width for entry in entries)
    for name, expected in ((IMAGES, 3 * pixels), (LABELS, pixels)):
        path = folder / name
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise DataError(f'{path}: {found} bytes instead of {expected}; pack the data set again')


def _check_sources(folder: Path, sample: Sample, entry: Entry):
    for path, packed in zip((sample.image, sample.label), entry.sources):
        if path is not None and path.exists() and _fingerprint(path) != packed:
            raise DataError(
                f'{folder}: {path} has changed since it was packed; pack the data set again'
            )


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    return status.st_size, status.st_mtime_ns


def _array(data: np.ndarray, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    # An ndarray: a memmap would be made anew for every slice, which is slow.
    return np.asarray(data)[offset : offset + int(np.prod(shape))].reshape(shape)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
