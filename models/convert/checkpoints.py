"""Read and write checkpoint files of the PyTorch ecosystem, without PyTorch.

A format is recognised by the content of a file, not by the file's name:

    torch.save since 1.6   a zip archive: data.pkl, data/<key> for each storage, byteorder
    torch.save before      five consecutive pickles, then the storages
    safetensors            the length of a JSON header, the header, the arrays
    numpy                  .npz

Formats: PyTorch's torch/serialization.py; safetensors' README.
"""

import json
import math
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from common import files
from common.errors import UserError
from models.convert import tensors, unpickling
from models.convert.tensors import Storage, Tensor, decode, item_size
from models.errors import ModelError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
SAFETENSORS_TYPES = {
    'F64': 'float64',
    'F32': 'float32',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'I64': 'int64',
    'I32': 'int32',
    'I16': 'int16',
    'I8': 'int8',
    'U64': 'uint64',
    'U32': 'uint32',
    'U16': 'uint16',
    'U8': 'uint8',
    'BOOL': 'bool',
}
ZIP_MAGIC = b'PK\x03\x04'
HDF5_MAGIC = b'\x89HDF'
WRITABLE_SUFFIXES = ('.npz', '.safetensors')
DAMAGE_ERRORS = (*tensors.DAMAGE_ERRORS, OSError, struct.error, zipfile.BadZipFile, zlib.error)


def read(path: str | os.PathLike[str]) -> object:
    """Read a checkpoint without executing code that it contains.

    Args:
        path: The checkpoint file.

    Returns:
        The saved object: usually dictionaries of :class:`Tensor` and plain values. The numbers of a
        tensor are read on demand.

    Raises:
        ModelError: The file is missing, unreadable, damaged, or of an unsupported format.
    """
    path = Path(path)
    try:
        if files.kind_of(path) != 'file':
            raise ModelError('no such file')
        with open(path, 'rb') as file:
            if not os.fstat(file.fileno()).st_size:
                raise ModelError('the file is empty')
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _reader(content)(content, path)
    except UserError as error:
        raise ModelError(f'{path}: cannot be converted ({_printable(error)})') from error
    except PermissionError as error:
        raise ModelError(f'{path}: cannot be read ({error.strerror})') from error
    except DAMAGE_ERRORS as error:
        raise ModelError(_damaged(path, error)) from error


def _damaged(path: str | os.PathLike[str], error: Exception) -> str:
    return f'{path}: truncated or damaged ({_printable(error)}); download or copy it again'


def _printable(error: Exception) -> str:
    """Return an error message as one line; replace control characters, as it may quote a file."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return ''.join(c if c.isprintable() else '?' for c in text)


def read_arrays(
    tree: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> dict[str, NDArray[np.float32]]:
    """Read the numbers of tensors that :func:`read` returned.

    Args:
        tree: Tensors by name.
        path: The file that the tensors come from, for messages.

    Returns:
        float32 arrays by name.

    Raises:
        ModelError: The file is damaged, or an array has values that are not finite.
    """
    try:
        result = {name: tensor.array() for name, tensor in tree.items()}
    except (ModelError, *DAMAGE_ERRORS) as error:
        raise ModelError(_damaged(path, error)) from error
    for name, array in result.items():
        if not np.isfinite(array).all():
            raise ModelError(
                f'{path}: {name} is not finite everywhere; it comes from a failed training'
            )
    return result


def is_checkpoint(path: Path) -> bool:
    """Return whether a file starts like a checkpoint that :func:`read` supports.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        start = file.read(16)
    return start[:4] in (ZIP_MAGIC, b'\x80\x02\x8a\n') or start[8:9] == b'{'


def _reader(content: mmap.mmap) -> Callable[[mmap.mmap, Path], object]:
    start = content[:16]
    if start[:4] == HDF5_MAGIC:
        raise ModelError('it is an HDF5 file, as NNabla writes; --to-pytorch converts such files')
    if start[8:9] == b'{':
        return _safetensors
    if start[:4] == ZIP_MAGIC:
        return _zip_or_npz
    if start[:1] == b'\x80':
        return _legacy
    if content[257:262] == b'ustar':
        raise ModelError('it is a tar archive, of PyTorch before 0.1.10 or of tar itself')
    raise ModelError('its format is none of torch.save, safetensors and .npz')


def _zip_or_npz(content: mmap.mmap, path: Path) -> object:
    archive = zipfile.ZipFile(path)
    records = {info.filename: info for info in archive.infolist()}
    if len(records) != len(archive.infolist()):
        raise ModelError('two records of the archive have the same name')
    pickles = [name for name in records if f'/{name}'.endswith('/data.pkl')]
    if not pickles:
        return _npz(archive, records)
    if any(f'/{name}'.endswith('/constants.pkl') for name in records):
        raise ModelError('it is a TorchScript archive, not a checkpoint of torch.save')
    packed = any(info.compress_type != zipfile.ZIP_STORED for info in records.values())
    if packed or sum(info.file_size for info in records.values()) > len(content):
        raise ModelError('the records of the archive claim more bytes than the file has')
    root = pickles[0].removesuffix('data.pkl')
    order = archive.read(f'{root}byteorder') if f'{root}byteorder' in records else b'little'
    storages: dict[str, Storage] = {}

    def storage_of(element: str | None, key: str, count: int, view: object) -> Storage:
        record = records.get(f'{root}data/{key}')
        size = count * (item_size(element) if element else 1)
        if record is None or view is not None or record.file_size != size:
            have = 'missing' if record is None else f'of {record.file_size} bytes'
            raise ModelError(f'the storage {key[:20]!r} of {size} bytes is {have}')
        storage = storages.setdefault(
            key,
            Storage(element, size, lambda: archive.read(record), _byte_order(order)),
        )
        if storage.element != element:
            raise ModelError(f'the storage {key[:20]!r} has two types')
        return storage

    return unpickling.load(archive.read(pickles[0]), storage_of)


def _byte_order(record: bytes) -> str:
    orders = {b'little': '<', b'big': '>'}
    if record not in orders:
        raise ModelError(f'unknown byte order {record[:20]!r}')
    return orders[record]


def _legacy(content: mmap.mmap, _: Path) -> object:
    storages: dict[str, _LegacyStorage] = {}

    def storage_of(element: str | None, key: str, count: int, view: Any) -> Storage:
        if element is None:
            raise ModelError('a storage has no type')
        size = count * item_size(element)
        root = storages.setdefault(key, _LegacyStorage(element, size))
        if (root.element, root.size) != (element, size):
            raise ModelError(f'the storage {key[:20]!r} has two types or sizes')
        if view is None:
            return root.whole
        _, first, number = view
        if not 0 <= first <= first + number <= count:
            raise ModelError('a view reaches beyond its storage')
        return root.part(first, number)

    def following() -> Any:
        start = content.tell()
        end = start + unpickling.pickle_length(content)
        content.seek(end)
        return unpickling.load(content[start:end], storage_of)

    if following() != LEGACY_MAGIC:
        raise ModelError('it is a pickle, but not of torch.save')
    if following() != LEGACY_PROTOCOL:
        raise ModelError('unknown protocol version of torch.save')
    following()  # facts of the writing machine, not needed: storages are always little-endian
    tree, keys = following(), following()
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(storages):
        raise ModelError('storages are missing or unused')
    for key in keys:
        (count,) = struct.unpack('<q', content.read(8))
        storage = storages[key]
        if count * item_size(storage.element) != storage.size:
            raise ModelError(f'the size of the storage {key[:20]!r} contradicts its tensors')
        storage.start = content.tell()
        if storage.start + storage.size > len(content):
            raise ModelError('the file ends within a storage')
        storage.content = content
        content.seek(storage.size, os.SEEK_CUR)
    return tree


class _LegacyStorage:
    """A storage that follows the pickles of a file; its offset is known after they are read."""

    def __init__(self, element: str, size: int):
        self.element, self.size = element, size
        self.content: bytes | mmap.mmap = b''
        self.start = 0
        self.whole = Storage(element, size, lambda: self._bytes(0, size))

    def part(self, first: int, number: int) -> Storage:
        """Return a storage of ``number`` elements, starting at element ``first``."""
        width = item_size(self.element)
        return Storage(
            self.element, number * width, lambda: self._bytes(first * width, number * width)
        )

    def _bytes(self, first: int, size: int) -> bytes:
        return self.content[self.start + first : self.start + first + size]


def _safetensors(content: mmap.mmap, _: Path) -> dict[str, Tensor]:
    (length,) = struct.unpack('<Q', content[:8])
    if 8 + length > len(content):
        raise ModelError('the file ends within its header')
    header = json.loads(content[8 : 8 + length], object_pairs_hook=_without_repetition)
    header.pop('__metadata__', None)
    tree = {}
    for name, entry in header.items():
        shape, (begin, end) = entry['shape'], entry['data_offsets']
        if entry['dtype'] not in SAFETENSORS_TYPES:
            raise ModelError(f'{name} has the unsupported type {entry["dtype"]}')
        element = SAFETENSORS_TYPES[entry['dtype']]
        sound = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        if not sound or end - begin != math.prod(shape) * item_size(element):
            raise ModelError(f'the size of {name} contradicts its shape')
        if 8 + length + end > len(content):
            raise ModelError(f'{name} reaches beyond the file')
        tree[name] = Tensor(
            tuple(shape),
            partial(_decoded_part, content, 8 + length + begin, 8 + length + end, element),
        )
    return tree


def _decoded_part(content: mmap.mmap, start: int, stop: int, element: str) -> NDArray[Any]:
    return decode(content[start:stop], element)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ModelError('the header has a name twice')
    return result


def _npz(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo]) -> dict[str, Tensor]:
    if not records or not all(name.endswith('.npy') for name in records):
        raise ModelError('it is a zip archive, but neither of torch.save nor of numpy')
    tree = {}
    for name, info in records.items():
        with archive.open(name) as file:
            version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]  # numpy's
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = header(file)  # type: ignore[no-untyped-call]  # numpy's
            start = file.tell()
        if dtype.kind not in 'fiub' or info.file_size - start != math.prod(shape) * dtype.itemsize:
            raise ModelError(f'{name} is not numeric, or its size contradicts its shape')
        tree[name.removesuffix('.npy')] = Tensor(
            shape,
            partial(_npy_record, archive, name, start, shape, dtype, 'F' if fortran else 'C'),
        )
    return tree


def _npy_record(
    archive: zipfile.ZipFile,
    name: str,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    order: Literal['C', 'F'],
) -> NDArray[Any]:
    numbers: NDArray[Any] = np.frombuffer(archive.read(name)[start:], dtype)
    return numbers.reshape(shape, order=order)


def write(path: Path, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 arrays atomically: as ``.npz`` if this is the suffix, else as safetensors.

    Args:
        path: The file to write.
        state: Arrays by name.

    Raises:
        UserError: The file cannot be written.
    """
    with files.replacing(path) as temporary:
        if path.suffix == '.npz':
            np.savez(temporary, **state)
            return
        header, position = {}, 0
        for name, array in state.items():
            offsets = [position, position + array.nbytes]
            header[name] = dict(dtype='F32', shape=list(array.shape), data_offsets=offsets)
            position = offsets[1]
        text = json.dumps(header).encode()
        text += b' ' * (-len(text) % 8)  # aligns the arrays
        with open(temporary, 'wb') as file:
            file.write(struct.pack('<Q', len(text)) + text)
            for array in state.values():
                file.write(np.ascontiguousarray(array, '<f4').tobytes())
