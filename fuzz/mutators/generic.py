"""Damage to bytes of any format."""

import struct
from collections.abc import Sequence

import numpy as np

_NUMBERS = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 255, 65535, 60000, -1)
_LONGEST_CUT, _LONGEST_INSERTION = 64, 4096
_MOST_REPETITIONS = 300


def flip_bit(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Flip one bit."""
    result = bytearray(data)
    if result:
        result[_place(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(result)


def flip_bits(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Flip up to 20 bits."""
    for _ in range(int(rng.integers(2, 20))):
        data = flip_bit(rng, data, others)
    return data


def set_byte(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Set one byte to a random value."""
    result = bytearray(data)
    if result:
        result[_place(rng, data)] = int(rng.integers(256))
    return bytes(result)


def truncate(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Cut the end off, at any place."""
    return data[: int(rng.integers(len(data) + 1))]


def delete(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Remove some bytes."""
    start = _place(rng, data)
    return data[:start] + data[start + int(rng.integers(1, _LONGEST_CUT)) :]


def insert(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Insert random bytes, or one byte many times."""
    start, count = _place(rng, data), int(rng.integers(1, _LONGEST_INSERTION))
    new = rng.bytes(count) if rng.random() < 0.5 else bytes([int(rng.integers(256))]) * count
    return data[:start] + new + data[start:]


def repeat(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat a part many times."""
    start, count = _place(rng, data), int(rng.integers(1, _LONGEST_CUT))
    part = data[start : start + count] * int(rng.integers(1, _MOST_REPETITIONS))
    return data[:start] + part + data[start:]


def splice(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Continue with the end of another valid file."""
    other = others[int(rng.integers(len(others)))]
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def overwrite_number(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Overwrite a place with an extreme integer of 2, 4 or 8 bytes, in either byte order."""
    size, kind = ((2, 'H'), (4, 'I'), (8, 'Q'))[int(rng.integers(3))]
    value = _NUMBERS[int(rng.integers(len(_NUMBERS)))] % (1 << 8 * size)
    encoded = struct.pack('<>'[int(rng.integers(2))] + kind, value)
    start = _place(rng, data)
    if rng.random() < 0.5:  # headers are at the beginning, where most counts are
        start = min(start, int(rng.integers(200)))
    return data[:start] + encoded + data[start + size :]


def overwrite_block(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Overwrite a block with zeros or ones, as a bad sector does."""
    start, count = _place(rng, data), int(rng.integers(1, 512))
    return data[:start] + (b'\0', b'\xff')[int(rng.integers(2))] * count + data[start + count :]


def exchange_blocks(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Exchange two neighbouring blocks."""
    a, b, c = sorted(_place(rng, data) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _place(rng: np.random.Generator, data: bytes) -> int:
    return int(rng.integers(len(data))) if data else 0


ALL = (
    flip_bit,
    flip_bits,
    set_byte,
    truncate,
    delete,
    insert,
    repeat,
    splice,
    overwrite_number,
    overwrite_number,
    overwrite_block,
    exchange_blocks,
)
