"""Tensors of checkpoints: strided views of storages, validated on creation and read on demand."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

# PyTorch's name of an element type -> numpy's type code without a byte order. numpy has no
# bfloat16, which is the upper half of a float32.
NUMPY_TYPES = {
    'float32': 'f4',
    'float64': 'f8',
    'float16': 'f2',
    'bfloat16': 'bfloat16',
    'int8': 'i1',
    'int16': 'i2',
    'int32': 'i4',
    'int64': 'i8',
    'uint8': 'u1',
    'uint16': 'u2',
    'uint32': 'u4',
    'uint64': 'u8',
    'bool': '?',
}
MAX_DIMENSIONS = 16
MAX_COUNT = (1 << 63) - 1  # elements, bytes or steps that PyTorch can count
MAX_TENSORS = 20_000  # of a network: ten times as many as the largest one here has
MAX_REPEATED = 1 << 16  # elements of a tensor that repeats those of a smaller storage


def item_size(element: str) -> int:
    """Return the number of bytes of an element."""
    return 2 if NUMPY_TYPES[element] == 'bfloat16' else np.dtype(NUMPY_TYPES[element]).itemsize


def decode(content: bytes | memoryview, element: str, byte_order: str = '<') -> NDArray[Any]:
    """Decode bytes to a flat array; bfloat16 becomes float32.

    Args:
        content: The bytes.
        element: Element type, a key of ``NUMPY_TYPES``.
        byte_order: ``<`` for little-endian, ``>`` for big-endian.
    """
    if NUMPY_TYPES[element] != 'bfloat16':
        return np.frombuffer(content, byte_order + NUMPY_TYPES[element])
    return (np.frombuffer(content, f'{byte_order}u2').astype('u4') << 16).view('f4')


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor whose numbers are read on demand.

    Attributes:
        shape: Dimensions.
        read: Returns the numbers, of any type and in any shape with as many elements.
    """

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]

    def array(self) -> NDArray[np.float32]:
        """Read the numbers as a float32 array of ``shape``."""
        with np.errstate(over='ignore'):  # float64 values out of range become infinite
            return np.ascontiguousarray(self.read(), np.float32).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Storage:
    """The flat memory that tensors share.

    Attributes:
        element: Element type, a key of ``NUMPY_TYPES``; None if the storage is untyped.
        size: Number of bytes that the pickle declares.
        read: Returns the bytes.
        byte_order: ``<`` for little-endian, ``>`` for big-endian.
    """

    element: str | None
    size: int
    read: Callable[[], bytes | memoryview]
    byte_order: str = '<'

    @cached_property
    def content(self) -> memoryview:
        """The bytes.

        Raises:
            ModelError: The number of bytes differs from ``size``.
        """
        content = memoryview(self.read())
        if len(content) != self.size:
            raise ModelError(f'a storage has {len(content)} bytes instead of {self.size}')
        return content


def part_of_file(path: Path, start: int, size: int) -> bytes:
    """Read a part of a file; raise ``ModelError`` if it has become shorter since it was opened."""
    with open(path, 'rb') as file:
        file.seek(start)
        content = file.read(size)
    if len(content) != size:
        raise ModelError('the file has changed')
    return content


def is_count(value: object) -> bool:
    """Return whether a value is a non-negative integer that PyTorch can count to."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_shape(value: object) -> bool:
    """Return whether a value is a shape, or the strides of one.

    To multiply thousands of dimensions takes a time that is quadratic in their number.
    """
    return (
        isinstance(value, tuple | list)
        and len(value) <= MAX_DIMENSIONS
        and all(is_count(number) for number in value)
    )


def view(
    storage: Storage,
    element: str | None,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    """Create a tensor as a strided view of a storage, within its bounds.

    A view may repeat elements, as that of a scalar in PyTorch's ``expand``, but it has not more of
    them than the storage, or few.

    Args:
        storage: The memory.
        element: Element type, a key of ``NUMPY_TYPES``; None is an error.
        offset: Index of the first element in the storage.
        size: Dimensions.
        stride: Step of each dimension, in elements.

    Raises:
        ModelError: An argument is invalid, or the view reaches beyond the storage.
    """
    if element is None:
        raise ModelError('a tensor has no type')
    sound = is_count(offset) and is_shape(size) and is_shape(stride)
    if not sound or len(size) != len(stride):
        raise ModelError('a tensor has an invalid shape, strides or offset')
    elements = storage.size // item_size(element)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and last >= elements or math.prod(size) > max(elements, MAX_REPEATED):
        raise ModelError(f'a tensor of {list(size)} reaches beyond its storage of {elements:,}')
    shape = tuple(size)
    if 0 in shape:
        return Tensor(shape, partial(np.zeros, shape, np.float32))
    return Tensor(shape, partial(_read_view, storage, element, offset, last, shape, tuple(stride)))


def _read_view(
    storage: Storage,
    element: str,
    offset: int,
    last: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
) -> NDArray[Any]:
    width = item_size(element)
    part = storage.content[offset * width : (last + 1) * width]
    flat = decode(part, element, storage.byte_order)
    steps = [step * flat.itemsize if n > 1 else 0 for n, step in zip(shape, stride)]
    return np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
