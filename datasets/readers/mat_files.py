"""Read a matrix of bytes from a MAT-file, level 5.

"MAT-File Format", The MathWorks, 2023, chapter "Level 5 MAT-File Format". ``scipy.io.loadmat``
crashes the process if the number of a data type is damaged, and unpacks whatever a file claims.
"""

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

_HEADER_BYTES = 128
_ORDERS = {b'IM': '<', b'MI': '>'}  # by the last bytes of the header
_VERSION = 0x100
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15  # data types
_NUMERIC = range(6, 16)  # classes of matrices of numbers
_BEGINNING = 1024  # bytes of a matrix that contain its shape and its name


@dataclass(frozen=True)
class _Element:
    """A part of a file: its data type, and where its bytes begin and end."""

    kind: int
    start: int
    end: int
    next: int


def read_bytes(
    data: bytes, wanted: str, check_shape: Callable[[tuple[int, ...]], None]
) -> np.ndarray | None:
    """Return the matrix of a name, (H, W) uint8; None if the file has none that is stored so.

    Args:
        data: The bytes of the file.
        wanted: The name.
        check_shape: Called with the shape before the matrix is unpacked; may raise an exception.

    Raises:
        ValueError: The file is damaged or of another kind.
        struct.error: It is truncated.
        zlib.error: A compressed part is damaged.
    """
    order = _ORDERS.get(data[_HEADER_BYTES - 2 : _HEADER_BYTES], '')
    if not order or struct.unpack_from(f'{order}H', data, _HEADER_BYTES - 4)[0] != _VERSION:
        raise ValueError('not of level 5')
    for element in _elements(data, order, _HEADER_BYTES):
        packed = data[element.start : element.end] if element.kind == _COMPRESSED else b''
        if element.kind == _COMPRESSED:
            matrix = zlib.decompressobj().decompress(packed, _BEGINNING)
        elif element.kind == _MATRIX:
            matrix = data[element.start - 8 : element.start + _BEGINNING]
        else:
            raise ValueError(f'data type {element.kind} in place of a matrix')
        shape, name, place = _described(matrix, order)
        if name == wanted.encode():
            if len(shape) != 2:
                return None
            check_shape(shape)
            whole = _unpacked(packed, order) if packed else data[element.start - 8 : element.end]
            return _pixels(whole, order, place, shape)
    return None


def _elements(data: bytes, order: str, place: int) -> Iterator[_Element]:
    while place < len(data):
        element = _element(data, order, place)
        if element.end > len(data):
            raise ValueError('it ends within a matrix')
        yield element
        place = element.next


def _element(data: bytes, order: str, place: int) -> _Element:
    """Return the element at a place; up to 4 bytes are stored within its tag."""
    kind, count = struct.unpack_from(f'{order}II', data, place)
    if kind >> 16:
        return _Element(kind & 0xFFFF, place + 4, place + 4 + (kind >> 16), place + 8)
    end = place + 8 + count
    return _Element(kind, place + 8, end, end if kind == _COMPRESSED else end + -count % 8)


def _described(matrix: bytes, order: str) -> tuple[tuple[int, ...], bytes, int]:
    """Return shape and name of a matrix of numbers, and where its values begin.

    Shape and name of a matrix of another class are empty.
    """
    flags = _element(matrix, order, 8)
    if flags.kind != _UINT32 or flags.end - flags.start != 8:
        raise ValueError('invalid flags of a matrix')
    if struct.unpack_from(f'{order}I', matrix, flags.start)[0] & 0xFF not in _NUMERIC:
        return (), b'', 0
    shape = _element(matrix, order, flags.next)
    count = (shape.end - shape.start) // 4
    if shape.kind != _INT32 or shape.end > len(matrix):
        raise ValueError('invalid shape of a matrix')
    name = _element(matrix, order, shape.next)
    if name.kind != _INT8 or name.end > len(matrix):
        raise ValueError('invalid name of a matrix')
    sizes = struct.unpack_from(f'{order}{count}i', matrix, shape.start)
    return sizes, matrix[name.start : name.end], name.next


def _unpacked(packed: bytes, order: str) -> bytes:
    """Return a compressed matrix, no more bytes than its tag says."""
    stream = zlib.decompressobj()
    tag = stream.decompress(packed, 8)
    size = struct.unpack_from(f'{order}4xI', tag)[0]
    matrix = tag + stream.decompress(stream.unconsumed_tail, size)
    stream.decompress(stream.unconsumed_tail, 1)  # reaches the checksum
    if not stream.eof:
        raise ValueError('a compressed matrix is truncated')
    return matrix


def _pixels(matrix: bytes, order: str, place: int, shape: tuple[int, ...]) -> np.ndarray | None:
    values = _element(matrix, order, place)
    if values.kind != _UINT8:
        return None
    if min(shape) < 0 or values.end - values.start != math.prod(shape) or values.end > len(matrix):
        raise ValueError('a matrix has another number of values than its shape says')
    stored = np.frombuffer(matrix, np.uint8, math.prod(shape), values.start)
    return stored.reshape(shape[::-1]).T  # column by column
