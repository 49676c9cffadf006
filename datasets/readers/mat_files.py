"""Read a matrix of a MAT-file strictly: SciPy's reader crashes on damaged files.

MATLAB's MAT-File Format, version 5: a header of 128 bytes, then elements, each with a type, a
length and content. An array is an element that consists of others: flags, shape, name, values. It
may be compressed as a whole. Other arrays than the one asked for are skipped.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

_HEADER_BYTES, _ORDER_OFFSET, _TAG_BYTES = 128, 126, 8
_ORDERS = {b'IM': '<', b'MI': '>'}
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15  # types of elements
_CLASS_OF_UINT8, _COMPLEX_OR_LOGICAL = 9, 0xA00  # in the flags of an array
_HEAD_BYTES = 1024  # of an array, decompressed to learn its name and shape


class MatError(Exception):
    """The content is no MAT-file of version 5, or it is damaged."""


def read_uint8(data: bytes, name: str, check_size: Callable[[int, int], None]) -> np.ndarray | None:
    """Return a matrix of a MAT-file.

    Args:
        data: Content of the file.
        name: Name of the matrix.
        check_size: Receives width and height before memory is taken for the values.

    Returns:
        (H, W) uint8; None if the file has no such matrix of uint8.

    Raises:
        MatError: The content is damaged.
    """
    order = _ORDERS.get(data[_ORDER_OFFSET:_HEADER_BYTES])
    if order is None:
        raise MatError('no MAT-file of version 5')
    for kind, content, _ in _elements(memoryview(data)[_HEADER_BYTES:], order, aligned=False):
        array = _Array.of(kind, content, order)
        if array is not None and array.name == name.encode():
            if not array.is_uint8 or len(array.shape) != 2:
                return None
            height, width = array.shape
            check_size(width, height)
            return array.values(height * width).reshape(array.shape, order='F')
    return None


@dataclass(frozen=True)
class _Array:
    """An array in a file, whose values are not decompressed yet.

    Attributes:
        name: Its name.
        shape: Its shape.
        is_uint8: Whether its values are real numbers of 8 bits.
        content: Its element, perhaps compressed.
        is_compressed: Whether the content is compressed.
        order: Byte order for ``struct``.
        start: Offset of the values' element in the decompressed content.
    """

    name: bytes
    shape: tuple[int, ...]
    is_uint8: bool
    content: memoryview
    is_compressed: bool
    order: str
    start: int

    @classmethod
    def of(cls, kind: int, content: memoryview, order: str) -> '_Array | None':
        """Return the array in an element; None for other elements."""
        if kind not in (_MATRIX, _COMPRESSED):
            return None
        head, start = content, 0
        if kind == _COMPRESSED:
            head, start = memoryview(_decompressed(content, _HEAD_BYTES)), _TAG_BYTES
            if len(head) < start or struct.unpack_from(f'{order}I', head)[0] != _MATRIX:
                raise MatError('a compressed element is no array')
        parts = list(islice(_elements(head[start:], order), 3))
        if len(parts) < 3:
            raise MatError('an array has no name')
        (flags_kind, flags, _), (shape_kind, shape, _), (name_kind, name, end) = parts
        if (flags_kind, shape_kind, name_kind) != (_UINT32, _INT32, _INT8) or len(flags) != 8:
            raise MatError('an array begins otherwise than with flags, shape and name')
        bits = struct.unpack(f'{order}II', flags)[0]
        sides = struct.unpack(f'{order}{len(shape) // 4}i', shape[: len(shape) // 4 * 4])
        is_uint8 = bits & 0xFF == _CLASS_OF_UINT8 and not bits & _COMPLEX_OR_LOGICAL
        return cls(bytes(name), sides, is_uint8, content, kind == _COMPRESSED, order, start + end)

    def values(self, count: int) -> np.ndarray:
        """Return the values, (count,) uint8."""
        content = self.content
        if self.is_compressed:  # the end of the stream has its checksum
            content = memoryview(_decompressed(content, self._end(count) + 1, complete=True))
        kind, values, _ = next(
            _elements(content[self.start :], self.order), (0, memoryview(b''), 0)
        )
        if kind != _UINT8 or len(values) != count:
            raise MatError('the values do not fit the shape')
        return np.frombuffer(values, np.uint8)

    def _end(self, count: int) -> int:
        """Return the length of the decompressed content with ``count`` values."""
        return self.start + _TAG_BYTES + count + (-count % 8)


def _elements(
    data: memoryview, order: str, aligned: bool = True
) -> Iterator[tuple[int, memoryview, int]]:
    """Yield type and content of elements, and the offset of the next one.

    Args:
        data: Elements, one after the other.
        order: Byte order for ``struct``.
        aligned: Whether content is padded to 8 bytes, as within arrays.

    Raises:
        MatError: An element is longer than the data.
    """
    position = 0
    while position < len(data):
        if position + _TAG_BYTES > len(data):
            raise MatError('it ends within an element')
        kind, length = struct.unpack_from(f'{order}II', data, position)
        start, small = position + _TAG_BYTES, kind >> 16
        if small:  # up to 4 bytes of content are in the tag
            kind, length, start = kind & 0xFFFF, small, position + 4
        end = start + length + (-length % 8 if aligned and not small else 0)
        if start + length > len(data) or small > 4:
            raise MatError('it ends within an element')
        position = position + _TAG_BYTES if small else end
        yield kind, data[start : start + length], position


def _decompressed(content: memoryview, most: int, complete: bool = False) -> bytes:
    """Return decompressed content, at most so many bytes of it; ``complete``: it must end there."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(content, most)
    except zlib.error as error:
        raise MatError(str(error)) from error
    if complete and not stream.eof:
        raise MatError('a compressed element is longer than it says, or truncated')
    return found
