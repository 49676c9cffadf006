"""numpy's ``.npz`` archives, without objects.

Format: numpy's numpy/lib/format.py.
"""

import math
import re
import zipfile
from functools import partial
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from common.terminal.short_repr import short_text
from models.convert import archives
from models.convert.archives import Records
from models.convert.tensors import MAX_TENSORS, Tensor, is_shape
from models.errors import ModelError, UnsupportedFormatError

MAGIC = b'\x93NUMPY'
MAX_HEADER_BYTES = 10_000  # numpy's own limit
# An item of the dictionary in a header, whose keys may have any order. numpy evaluates the header
# as an expression of Python, whose nesting can exhaust the stack.
ITEM = re.compile(
    r"""['"](descr|fortran_order|shape)['"]\s*:\s*
    (['"][<>|=]?[fiub?]\d{0,2}['"]|True|False|\(\s*(?:\d{1,19}L?\s*,\s*)*(?:\d{1,19}L?\s*)?\))
    \s*,?\s*""",
    re.VERBOSE,
)


def read(archive: zipfile.ZipFile, records: Records) -> dict[str, Tensor]:
    """Return the arrays of an archive by name.

    Args:
        archive: The archive.
        records: Its records.

    Raises:
        ModelError: A record is not a numeric array, or contradicts itself. A damaged one raises
            any exception.
    """
    if not records or not all(name.endswith('.npy') for name in records):
        raise UnsupportedFormatError(
            'it is a zip archive, but neither of torch.save nor of numpy; unpack it, and pass what '
            'is in it'
        )
    if len(records) > MAX_TENSORS:
        raise ModelError(f'it has {len(records):,} arrays, more than any network')
    return {name.removesuffix('.npy'): _tensor(archive, record) for name, record in records.items()}


def _tensor(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> Tensor:
    name = short_text(record.filename)
    with archive.open(record) as file:
        entries = _header(file, name)
        start = file.tell()
    order: Literal['C', 'F'] = 'F' if entries['fortran_order'] == 'True' else 'C'
    dtype = np.dtype(entries['descr'].strip("\"'"))
    shape = tuple(int(number) for number in re.findall(r'\d+', entries['shape']))
    if not is_shape(shape) or record.file_size - start != math.prod(shape) * dtype.itemsize:
        raise ModelError(f'the size of {name} contradicts its shape')
    return Tensor(shape, partial(_array, archive, record, start, shape, dtype, order))


def _header(file: IO[bytes], name: str) -> dict[str, str]:
    """Read an array's header; return the texts of its entries by their keys."""
    magic, version = file.read(6), file.read(2)
    if magic != MAGIC or version not in (b'\1\0', b'\2\0', b'\3\0'):
        raise ModelError(f'{name} is not an array of numpy')
    length = int.from_bytes(file.read(2 if version == b'\1\0' else 4), 'little')
    if length > MAX_HEADER_BYTES:
        raise ModelError(f'{name} has a header of {length:,} bytes')
    text = file.read(length).decode('latin1')
    entries: dict[str, str] = dict(ITEM.findall(text))
    if ITEM.sub('', text).split() not in (['{}'], ['{', '}']) or len(entries) != 3:
        raise ModelError(f'{name} is not numeric, or its header is damaged')
    for key, start in (('descr', ('"', "'")), ('fortran_order', ('T', 'F')), ('shape', '(')):
        if not entries[key].startswith(start):
            raise ModelError(f'{name} has the {key} {short_text(entries[key])} in its header')
    return entries


def _array(
    archive: zipfile.ZipFile,
    record: zipfile.ZipInfo,
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    order: Literal['C', 'F'],
) -> NDArray[Any]:
    numbers: NDArray[Any] = np.frombuffer(archives.content(archive, record, start), dtype)
    return numbers.reshape(shape, order=order)
