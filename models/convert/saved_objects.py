"""Objects that torch.save wrote: pickles, and the storages of their tensors.

    since 1.6   a zip archive: data.pkl, data/<key> for each storage, byteorder
    before      five consecutive pickles, then the storages

Format: PyTorch's torch/serialization.py.
"""

import io
import os
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from models.convert import archives
from models.convert.archives import Records
from models.convert.tensors import Storage, is_count, item_size, part_of_file
from models.convert.unpickling import Pickles
from models.errors import ModelError, UnsupportedFormatError

BYTE_ORDERS = {b'little': '<', b'big': '>'}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def is_saved_object(records: Records) -> bool:
    """Return whether an archive has the records of torch.save."""
    return any(f'/{name}'.endswith('/data.pkl') for name in records)


def read_archive(archive: zipfile.ZipFile, records: Records) -> object:
    """Return the object in an archive.

    Args:
        archive: The archive.
        records: Its records.

    Raises:
        ModelError: The archive is of an unsupported format, or contradicts itself. A damaged one
            raises any exception.
    """
    if any(f'/{name}'.endswith('/constants.pkl') for name in records):
        raise UnsupportedFormatError(
            'it is a TorchScript archive; load it with torch.jit.load, and save its state_dict() '
            'with torch.save'
        )
    if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
        raise UnsupportedFormatError(
            'its records are compressed; load it with torch.load, and save it with torch.save, '
            'which does not compress'
        )
    pickle = next(name for name in records if f'/{name}'.endswith('/data.pkl'))
    root = pickle.removesuffix('data.pkl')
    byte_order = _byte_order(archive, records.get(f'{root}byteorder'))
    storages: dict[str, Storage] = {}

    def storage_of(element: str | None, key: str, count: int, view: object) -> Storage:
        record = records.get(f'{root}data/{key}')
        size = count * (item_size(element) if element else 1)
        if record is None or view is not None or record.file_size != size:
            have = 'missing' if record is None else f'of {record.file_size} bytes'
            raise ModelError(f'the storage {key!r} of {size} bytes is {have}')
        if key not in storages:
            read = partial(archives.content, archive, record)
            storages[key] = Storage(element, size, read, byte_order)
        if storages[key].element != element:
            raise ModelError(f'the storage {key!r} has two types')
        return storages[key]

    stream = archives.content(archive, records[pickle])
    return Pickles(io.BytesIO(stream), len(stream), storage_of).load()


def _byte_order(archive: zipfile.ZipFile, record: zipfile.ZipInfo | None) -> str:
    stated = b'little' if record is None else archives.content(archive, record)
    if stated not in BYTE_ORDERS:
        raise ModelError(f'unknown byte order {stated[:20]!r}')
    return BYTE_ORDERS[stated]


def read_legacy(file: BinaryIO, size: int, path: Path) -> object:
    """Return the object in a file of PyTorch before 1.6.

    Args:
        file: The open file.
        size: Number of bytes in the file.
        path: Its path, for reading storages on demand.

    Raises:
        ModelError: The file is not of torch.save, or contradicts itself. A damaged one raises any
            exception.
    """
    storages: dict[str, _LegacyStorage] = {}

    def storage_of(element: str | None, key: str, count: int, view: Any) -> Storage:
        if element is None:
            raise ModelError('a storage has no type')
        length = count * item_size(element)
        if key not in storages:
            storages[key] = _LegacyStorage(path, element, length)
        root = storages[key]
        if (root.element, root.size) != (element, length):
            raise ModelError(f'the storage {key!r} has two types or sizes')
        if view is None:
            return root.whole
        if not isinstance(view, tuple) or len(view) != 3 or not all(map(is_count, view[1:])):
            raise ModelError('a view of a storage has no place in it')
        _, first, number = view
        if first + number > count:
            raise ModelError('a view reaches beyond its storage')
        return root.part(first, number)

    pickles = Pickles(file, size, storage_of)
    if pickles.load() != LEGACY_MAGIC:
        raise ModelError('it is a pickle, but not of torch.save')
    if pickles.load() != LEGACY_PROTOCOL:
        raise ModelError('unknown protocol version of torch.save')
    pickles.load()  # facts of the writing machine, not needed: storages are always little-endian
    tree, keys = pickles.load(), pickles.load()
    if not (
        isinstance(keys, list)
        and len(keys) == len(storages)
        and all(isinstance(key, str) for key in keys)
        and set(keys) == storages.keys()
    ):
        raise ModelError('storages are missing or unused')
    for key in keys:
        (count,) = struct.unpack('<q', file.read(8))
        storage = storages[key]
        if count * item_size(storage.element) != storage.size:
            raise ModelError(f'the size of the storage {key!r} contradicts its tensors')
        storage.start = file.tell()
        if storage.start + storage.size > size:
            raise ModelError('the file ends within a storage')
        file.seek(storage.size, os.SEEK_CUR)
    return tree


class _LegacyStorage:
    """A storage that follows the pickles of a file; its offset is known after they are read."""

    __slots__ = ('element', 'path', 'size', 'start', 'whole')

    def __init__(self, path: Path, element: str, size: int):
        self.path, self.element, self.size = path, element, size
        self.start = 0
        self.whole = Storage(element, size, self._bytes)

    def part(self, first: int, number: int) -> Storage:
        """Return a storage of ``number`` elements, starting at element ``first``."""
        width = item_size(self.element)
        place = slice(first * width, (first + number) * width)
        return Storage(self.element, number * width, lambda: self.whole.content[place])

    def _bytes(self) -> bytes:
        return part_of_file(self.path, self.start, self.size)
