"""Pack data sets: decoded images and labels in two large memory-mapped files.

    pack(dataset, 'packed/train', processes=4)
    dataset = pack.open('packed/train')     # a Dataset; a crop reads only its own bytes

The folder contains ``images.bin`` (uint8 BGR) and ``labels.bin`` (uint8 class indices, 255 for
ignored pixels), one sample after the other; :mod:`datasets.loading.pack_index` describes
``index.json``, which says where.
"""

import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from common import files
from common.errors import InputError, UserError
from common.process_map import map_samples
from common.writing import write_targets
from datasets import label_scan
from datasets.dataset import Dataset, Sample
from datasets.info import DataError, DatasetInfo
from datasets.keys import ImageReading
from datasets.label_scan import LabelScan
from datasets.loading import pack_index
from datasets.loading.pack_index import FILES, IMAGES, INDEX, LABELS, PackedSample


class _MappedFiles:
    """The two files of a folder, mapped on first use; each process maps them itself."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __getstate__(self):
        return {'folder': self.folder}

    @cached_property
    def images(self) -> np.ndarray:
        """The bytes of all images."""
        return np.memmap(self.folder / IMAGES, np.uint8, 'r')

    @cached_property
    def labels(self) -> np.ndarray:
        """The bytes of all labels."""
        return np.memmap(self.folder / LABELS, np.uint8, 'r')


@dataclass(frozen=True)
class PackedDataset(Dataset):
    """A data set that :func:`pack` has written; its arrays are read-only views of the files.

    Attributes:
        entries: The packed samples by name.
        files: The mapped files.
    """

    entries: dict[str, PackedSample] = field(kw_only=True, repr=False)
    files: _MappedFiles = field(kw_only=True, repr=False, compare=False)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of the image and its label."""
        entry = self._packed(index)
        return entry.height, entry.width

    def image(self, index: int) -> np.ndarray:
        """Return the image, (H, W, 3) uint8, BGR."""
        entry = self._packed(index)
        shape = entry.height, entry.width, 3
        return _view(self.files.images, entry.offsets[0], shape)

    def orientation(self, index: int) -> int:
        """Return 1: the packed pixels are not turned again."""
        return 1

    def decoded(self, index: int) -> tuple[np.ndarray, None]:
        """Return class indices, (H, W) uint8, 255 for ignored pixels, and no fact."""
        entry = self._packed(index)
        return _view(self.files.labels, entry.offsets[1], (entry.height, entry.width)), None

    def examined(self, index: int) -> tuple[np.ndarray, None]:
        """Return the result of :meth:`decoded`, whose values :func:`pack` has checked."""
        return self.decoded(index)

    def check(self, index: int) -> tuple[np.ndarray, None]:
        """Return the result of :meth:`decoded`: the source files need not exist any more."""
        return self.decoded(index)

    def label_files(self) -> list[Path]:
        """Return the files with the labels."""
        return [self.files.folder / INDEX, self.files.folder / LABELS]

    def verify(self, processes: int = 1) -> list[str]:
        """Compare all bytes with their checksums; return a line for each sample that differs."""
        return [line for line in map_samples(self, _verify_sample, processes, 'checking') if line]

    def require(self, reading: ImageReading) -> None:
        """Raise ``DataError`` if ``reading`` sets another conversion than that of the images."""
        for key, own in self.reading.conversion.items():
            if getattr(reading, key) not in (None, own):
                raise DataError(
                    f'{self.files.folder}: packed with {key} {own or "not set"}, not '
                    f'{getattr(reading, key)}; pack the data set again with it'
                )

    def _packed(self, index: int) -> PackedSample:
        return self.entries[self.samples[index].name]


def _verify_sample(packed: PackedDataset, index: int) -> str | None:
    found = _checksum(packed.image(index)), _checksum(packed.label(index))
    if found == packed._packed(index).checksums:
        return None
    return (
        f'{packed.files.folder}: the bytes of {packed[index].name} have changed since packing; '
        'pack the data set again'
    )


def packed_folders(root: str | os.PathLike) -> list[Path]:
    """Return the folders of packed data sets at ``root``: ``root`` itself, or its split folders.

    The list is empty if there are none.
    """
    root = Path(root)
    found = [root, *sorted(path.parent for path in root.glob(f'[!.]*/{INDEX}'))]
    packed = [
        folder
        for folder in found
        if (folder / INDEX).is_file() and any((folder / x).is_file() for x in (IMAGES, LABELS))
    ]
    return packed[:1] if root in packed else packed


def pack(
    dataset: Dataset,
    folder: str | os.PathLike,
    processes: int = 1,
    judge: Callable[[Dataset, LabelScan], None] = label_scan.judge,
) -> PackedDataset:
    """Write a split as memory-mapped arrays.

    An existing packed data set stays until the new one is complete.

    Args:
        dataset: The split to pack; every sample needs a label.
        folder: The folder to write: a new or empty one, or one with packed data.
        processes: Number of worker processes.
        judge: Called with the scan of all labels before the folder is replaced.

    Returns:
        The packed data set.

    Raises:
        DataError: A sample has no label, or the label files contradict each other.
        InputError: A sample cannot be read.
        UserError: The folder contains other files, or the files cannot be written.
    """
    folder = Path(folder)
    check_target(folder)
    target = write_targets.target_of(folder)
    if dataset.tasks or len(dataset.flow) > 1:
        raise DataError(
            'packed data has one image and one label a sample, so it holds neither several inputs '
            'nor tasks; train from the files'
        )
    for sample in dataset:
        if sample.label is None:
            raise DataError(f'{sample.image}: has no label; pack a split that has labels')
    sizes = [dataset.size(index) for index in range(len(dataset))]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_targets.folder_beside(target) as new:
            entries, scan = _write(dataset, new, sizes, processes)
            judge(dataset, scan)
            labels = [_label_of(sample) for sample in dataset]
            pack_index.write(dataset, new, labels, entries)
            _replace_folder(new, target)
    except OSError as error:
        raise UserError(f'{folder}: cannot be written ({error.strerror or error})') from error
    return open(folder)


def check_target(folder: Path) -> None:
    """Raise ``UserError`` unless a folder is new or empty, or holds packed data only."""
    kind = files.kind_of(folder)
    names = {path.name for path in files.listing(folder)} if kind == 'folder' else set()
    if kind == 'file' or names and (INDEX not in names or names.difference(FILES)):
        raise UserError(f'{folder}: contains other files; name a new folder for packed data')


def open(folder: str | os.PathLike) -> PackedDataset:
    """Open a packed data set.

    The source files are compared with the index, except those that do not exist on this machine.

    Args:
        folder: The folder that :func:`pack` has written.

    Raises:
        DataError: The folder is missing, damaged or of another format version, or a source file has
            changed since.
    """
    folder = Path(folder)
    _restore_backup(write_targets.target_of(folder))
    index = pack_index.read(folder)
    for sample, entry in zip(index.samples, index.entries):
        _check_sources(folder, sample, entry)
    return PackedDataset(
        index.info,
        index.split,
        index.samples,
        reading=index.reading,
        decode=None,  # type: ignore[arg-type]  # the labels are arrays, not files
        entries={sample.name: entry for sample, entry in zip(index.samples, index.entries)},
        files=_MappedFiles(folder),
    )


def open_split(
    name: str, root: str | os.PathLike, split: str, reading: ImageReading
) -> PackedDataset | None:
    """Open a split of the packed data at ``root``; return None if there are no packed data.

    Args:
        name: Name of the data set.
        root: The folder that ``python -m datasets.prepare --pack`` has written, or that of a split.
        split: Name of the split.
        reading: How images are to be read.

    Raises:
        DataError: The packed data are of another data set or split, or were read otherwise.
    """
    folders = packed_folders(root)
    if not folders:
        return None
    folder = Path(root) if Path(root) in folders else Path(root) / split
    found = open(folder if folder in folders else folders[0])
    if found.info.name != name:
        raise DataError(f'{root}: holds packed {found.info.name}, not {name}')
    if found.split != split:
        there = [each.name for each in folders] if folder not in folders else [found.split]
        raise DataError(
            f'{root}: no packed {split} here, only {", ".join(there)}; pack it with '
            f'python -m datasets.prepare {name} --pack FOLDER --split {split}'
        )
    found.require(reading)
    return replace(found, root=Path(root))


def info(root: str | os.PathLike) -> DatasetInfo | None:
    """Return the facts about the packed data at ``root``; None if there are no packed data."""
    folders = packed_folders(root)
    return pack_index.read(folders[0]).info if folders else None


def _write(
    dataset, folder: Path, sizes: Sequence[tuple[int, int]], processes: int
) -> tuple[list[PackedSample], LabelScan]:
    """Fill the two files; the worker that decodes a sample also writes it."""
    pixels = [height * width for height, width in sizes]
    starts = [0, *np.cumsum(pixels).tolist()]
    for name, channels in ((IMAGES, 3), (LABELS, 1)):
        with (folder / name).open('wb') as file:
            if starts[-1]:  # fail now if the disk is full
                os.posix_fallocate(file.fileno(), 0, channels * starts[-1])
    write = partial(_write_sample, folder=folder, sizes=sizes, starts=starts)
    entries, scan = [], LabelScan()
    for entry, part in map_samples(dataset, write, processes, 'packing'):
        entries.append(entry)
        scan += part
    return entries, scan


def _write_sample(
    dataset: Dataset, index: int, folder: Path, sizes, starts
) -> tuple[PackedSample, LabelScan]:
    sample = dataset[index]
    sources = _fingerprint(sample.image), _fingerprint(_label_of(sample))
    image, label, fact = dataset.examined_pair(index)
    if image.shape[:2] != tuple(sizes[index]):
        raise InputError(f'{sample.image}: has changed during packing; pack the data set again')
    offsets = 3 * starts[index], starts[index]
    for name, offset, array in zip((IMAGES, LABELS), offsets, (image, label)):
        with (folder / name).open('r+b') as file:
            file.seek(offset)
            file.write(np.ascontiguousarray(array).data)
    height, width = label.shape
    checksums = _checksum(image), _checksum(label)
    entry = PackedSample(height, width, offsets, checksums, sources)
    return entry, label_scan.scan_of_label(sample.label, label, fact)


def _label_of(sample: Sample) -> Path:
    assert sample.label is not None  # pack refuses samples without labels
    return sample.label


def _replace_folder(new: Path, target: Path):
    old = _backup_folder(target)
    if target.exists():  # otherwise the backup may be the only copy
        check_target(old)
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _restore_backup(folder: Path):
    """Restore the folder that a killed :func:`_replace_folder` had moved aside."""
    old = _backup_folder(folder)
    if not folder.exists() and (old / INDEX).is_file():
        with suppress(OSError):  # no permission: the caller reports the missing folder
            old.rename(folder)


def _backup_folder(folder: Path) -> Path:
    return folder.with_name(f'.{folder.name}.old')


def _check_sources(folder: Path, sample: Sample, entry: PackedSample):
    for path, packed in zip((sample.image, sample.label), entry.sources):
        if path is not None and os.path.exists(path) and _fingerprint(path) != packed:
            raise DataError(
                f'{folder}: {path} has changed since it was packed; pack the data set again'
            )


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    return status.st_size, status.st_mtime_ns


def _view(data: np.ndarray, offset: int, shape: tuple[int, ...]) -> np.ndarray:
    # Converted to an ndarray, because every slice of a memmap creates a new memmap, which is slow.
    return np.asarray(data)[offset : offset + int(np.prod(shape))].reshape(shape)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)
