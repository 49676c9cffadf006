"""Files of safetensors: the length of a JSON header, the header, the arrays.

Format: safetensors' README.
"""

import itertools
import json
import math
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from common.reading import json_text
from common.terminal.short_repr import short_text
from models.convert.tensors import (
    MAX_TENSORS,
    Tensor,
    decode,
    is_count,
    is_shape,
    item_size,
    part_of_file,
)
from models.errors import ModelError, UnsupportedFormatError

TYPES = {
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
MAX_HEADER_BYTES = 10_000_000  # of more than 50,000 arrays


def read(file: BinaryIO, size: int, path: Path) -> dict[str, Tensor]:
    """Return the arrays of a file by name.

    Args:
        file: The open file.
        size: Number of bytes in the file.
        path: Its path, for reading arrays on demand.

    Raises:
        ModelError: The header is of an unsupported format, or contradicts itself or the file. A
            damaged one raises any exception.
    """
    (length,) = struct.unpack('<Q', file.read(8))
    if 8 + length > size:
        raise ModelError('the file ends within its header')
    if length > MAX_HEADER_BYTES:
        raise ModelError(f'its header has {length:,} bytes')
    header: dict[str, Any] = json_text.parse(file.read(length), 'its header', dict)
    header.pop('__metadata__', None)
    if len(header) > MAX_TENSORS:
        raise ModelError(f'it has {len(header):,} arrays, more than any network')
    tree: dict[str, Tensor] = {}
    parts: list[tuple[int, int, str]] = []  # first byte, last byte + 1, name
    for name, entry in header.items():
        begin, end, tree[name] = _tensor(name, entry, path, 8 + length)
        parts.append((begin, end, name))
        if 8 + length + end > size:
            raise ModelError(f'{short_text(name)} reaches beyond the file')
    parts.sort()
    for (_, previous_end, _), (begin, _, name) in itertools.pairwise(parts):
        if begin < previous_end:
            raise ModelError(f'{short_text(name)} overlaps with another array')
    return tree


def _tensor(name: str, entry: Any, path: Path, start: int) -> tuple[int, int, Tensor]:
    """Return the first byte of an array, that behind its last one, and the array."""
    label = short_text(name)
    try:
        shape, (begin, end), dtype = entry['shape'], entry['data_offsets'], entry['dtype']
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f'{label} has no shape, dtype and data_offsets in the header') from error
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise UnsupportedFormatError(
            f'{label} has the unsupported type {short_text(dtype)}; save it as F32'
        )
    element = TYPES[dtype]
    sound = is_shape(shape) and is_count(begin) and is_count(end)
    if not sound or end - begin != math.prod(shape) * item_size(element):
        raise ModelError(f'the size of {label} contradicts its shape')
    read_array = partial(_array, path, start + begin, end - begin, element)
    return begin, end, Tensor(tuple(shape), read_array)


def _array(path: Path, start: int, size: int, element: str) -> NDArray[Any]:
    return decode(part_of_file(path, start, size), element)


def write(path: Path, state: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 arrays.

    Args:
        path: The file to write.
        state: Arrays by name.
    """
    header, position = {}, 0
    for name, array in state.items():
        offsets = [position, position + array.nbytes]
        header[name] = dict(dtype='F32', shape=list(array.shape), data_offsets=offsets)
        position = offsets[1]
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)  # aligns the arrays
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for array in state.values():
            file.write(np.ascontiguousarray(array, '<f4').tobytes())
