"""Arrays of checkpoints as strided views of storages, checked when they are made and read when they
are asked for.
"""

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

# Element types of storages and tensors, by PyTorch's name, as numpy's without a byte order.
# bfloat16 is the upper half of a float32; numpy has none.
TYPES = {
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
MOST_DIMENSIONS = 16
MOST_ELEMENTS = 1 << 40
# What a damaged pickle, archive or header raises.
DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,  # too deep; in an archive, a password
    TypeError,
    ValueError,
)


def item_size(element: str) -> int:
    """Bytes of an element."""
    return 2 if TYPES[element] == 'bfloat16' else np.dtype(TYPES[element]).itemsize


def decoded(content: bytes | memoryview, element: str, byte_order: str = '<') -> NDArray[Any]:
    """Bytes as a flat array of elements; bfloat16 becomes float32."""
    if TYPES[element] != 'bfloat16':
        return np.frombuffer(content, byte_order + TYPES[element])
    return (np.frombuffer(content, f'{byte_order}u2').astype('u4') << 16).view('f4')


@dataclass(frozen=True)
class Tensor:
    """An array that is not read yet."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a tensor')

    def array(self) -> NDArray[np.float32]:
        """The numbers, float32."""
        with np.errstate(over='ignore'):  # of float64; infinite then
            return np.ascontiguousarray(self.read(), np.float32).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Storage:
    """The flat memory of tensors. element: None where only bytes are known. size: bytes that it
    claims. read: returns them.
    """

    element: str | None
    size: int
    read: Callable[[], bytes]
    byte_order: str = '<'

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a storage')

    @cached_property
    def content(self) -> bytes:
        """The bytes; ``ModelError`` when they are not as many as claimed."""
        content = self.read()
        if len(content) != self.size:
            raise ModelError(f'a storage has {len(content)} bytes instead of {self.size}')
        return content


def is_count(value: object) -> bool:
    """Whether a value is an integer that is not negative."""
    return type(value) is int and value >= 0


def view(
    storage: Storage,
    element: str | None,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    """A tensor on a storage; offset and strides are in elements. Raises ``ModelError`` when it
    cannot be or reaches beyond the storage.
    """
    if element is None:
        raise ModelError('a tensor has no type')
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or len(size) > MOST_DIMENSIONS or not all(map(is_count, numbers)):
        raise ModelError('a tensor has a shape, strides or an offset that cannot be')
    elements = storage.size // item_size(element)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if math.prod(size) > MOST_ELEMENTS or 0 not in size and last >= elements:
        raise ModelError(f'a tensor of {list(size)} reaches beyond its storage')

    def read() -> NDArray[Any]:
        if 0 in size:
            return np.zeros(size, np.float32)
        width = item_size(element)
        part = memoryview(storage.content)[offset * width : (last + 1) * width]
        flat = decoded(part, element, storage.byte_order)
        return np.lib.stride_tricks.as_strided(
            flat, size, [step * flat.itemsize for step in stride], writeable=False
        )

    return Tensor(tuple(size), read)
