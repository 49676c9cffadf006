"""Damage to checkpoints that knows pickles, safetensors and .npy headers."""

import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from fuzz.mutators.containers import zipped
from fuzz.mutators.mutator import Mutator, pick
from fuzz.mutators.texts import odd_json_value

_CODES = [code.code.encode('latin-1') for code in pickletools.opcodes]
_HOSTILE = (
    b'cos\nsystem\n(S"true"\ntR', b'c__builtin__\neval\n(S"1"\ntR', b'(' * 100_000, b']' * 100_000,
    b'}' * 100_000, b'(lq\x00' * 5000, b'h\x00h\x00\x86q\x00' * 60, b'j\xff\xff\xff\xff',
    b'\x8a\xff' + b'\xff' * 255,
    b'\x8b\xff\xff\xff\x7f', b'X\xff\xff\xff\xff', b'\x8d' + b'\xff' * 8,
    b'K\x01K\x02K\x03\x87' * 3000, b'2' * 100_000,
    b'I' + b'9' * 20_000 + b'\n', b'L' + b'9' * 20_000 + b'L\n', b'Fnan\n', b'(((((ttttt' * 3000,
    b'Pid\n', b'Q',
    b'\x95' + b'\xff' * 8, b'(K\x01' * 20_000 + b't' * 20_000, b'ctorch\nstorage.rm -rf\n',
    b'\x93', b'b', b'\x92', b'R',
)  # fmt: skip
_ODD_SHAPES = (
    (2**40,), (2**31, 2**31), (-1, 4), (0,), (10**12, 10**12), (1,) * 5000, (2**62, 2**62,
    2**62), (1.5, 2),
    (True,), ('a',), (), (10**400,),
)  # fmt: skip


def change_opcode(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change an opcode of a pickle or insert hostile ones; of a zip, in its data.pkl."""
    return _in_pickle(data, lambda pickled: _change_opcode(rng, pickled))


def change_arguments(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace the shape or the strides of a tensor, or an integer of a pickle."""
    return _in_pickle(data, lambda pickled: _change_arguments(rng, pickled))


def change_safetensors(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a value in the header, or the length of the header."""
    length = struct.unpack('<Q', data[:8].ljust(8, b'\0'))[0]
    header, rest = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.2:
        return struct.pack('<Q', int(pick(rng, [0, 1, 2**32, 2**63, length + 8]))) + data[8:]
    if rng.random() < 0.3:
        header = b'{' + b', '.join([header[1:-1]] * int(rng.integers(2, 200))) + b'}'
    else:
        header = odd_json_value(rng, header, others)
    return struct.pack('<Q', len(header)) + header + rest


def change_npz(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace the header of an array in an .npz file, which has new checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # already damaged
        return data
    index = int(rng.integers(len(members)))
    name, content = members[index]
    shape = pick(rng, _ODD_SHAPES)
    kind = pick(
        rng, ['<f4', '<f8', '|O', '|S5', '<U3', '<M8[s]', '<c8', '|V4', "('<f4', (3,))", 'x', '>f2']
    )
    header = pick(
        rng,
        [
            f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}",
            f"{{'descr': '{kind}', 'fortran_order': 3, 'shape': (4,), }}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)",
            "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,)}",
            '(' * 20_000,
            '-' * 20_000 + '1',
            '{' + "'a': " * 3000,
            '9' * 20_000,
            '__import__("os").system("true")',
            '\0' * 50,
        ],
    )
    encoded = header.encode() + b'\n'
    version = pick(rng, [(1, 0), (2, 0), (3, 0), (9, 9)])
    size = (
        struct.pack('<H', len(encoded) % 65536)
        if version == (1, 0)
        else struct.pack('<I', len(encoded))
    )
    members[index] = name, b'\x93NUMPY' + bytes(version) + size + encoded + content[128:]
    return zipped(members)


def _in_pickle(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    if not data.startswith(b'PK'):
        return change(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # already damaged
        return data
    return zipped([(n, change(c) if n.endswith('data.pkl') else c) for n, c in members])


def _change_opcode(rng: np.random.Generator, data: bytes) -> bytes:
    places = _places(data)
    place, way = pick(rng, places), int(rng.integers(4))
    if way == 0:
        return data[:place] + pick(rng, _CODES) + data[place + 1 :]
    if way == 1:
        return data[:place] + pick(rng, _HOSTILE) + data[place:]
    if way == 2:
        first, last = sorted((place, pick(rng, places)))
        return data[:last] + data[first:last] * int(rng.integers(1, 500)) + data[last:]
    first, last = sorted((place, pick(rng, places)))
    return data[:first] + data[last:]


def _change_arguments(rng: np.random.Generator, data: bytes) -> bytes:
    tuples = list(
        re.finditer(rb'\((?:K.|M..|J....){4}t|K.K.K.\x87|K.K.\x86|K.\x85', data, re.DOTALL)
    )
    if tuples and rng.random() < 0.7:
        found = pick(rng, tuples)
        new = pickle.dumps(pick(rng, _ODD_SHAPES), 2)[2:-1]
        new = re.sub(rb'q.', b'', new, flags=re.DOTALL) if len(new) < 200 else new
        return data[: found.start()] + new + data[found.end() :]
    numbers = list(re.finditer(rb'K.|M..', data, re.DOTALL))
    if not numbers:
        return data
    found = pick(rng, numbers)
    value = pick(
        rng,
        [
            b'J\xff\xff\xff\x7f',
            b'J\xff\xff\xff\xff',
            b'\x8a\x08' + b'\xff' * 7 + b'\x7f',
            b'N',
            b')',
        ],
    )
    return data[: found.start()] + value + data[found.end() :]


def _places(data: bytes) -> list[int]:
    """Return the places of opcodes, of the first pickle in the data."""
    places = [0]
    with suppress(Exception):  # already damaged
        places += [place or 0 for _, _, place in pickletools.genops(data)]
    return places


OF_TORCH = (
    Mutator(change_opcode, keeps_checksums=True),
    Mutator(change_opcode, keeps_checksums=True),
    Mutator(change_arguments, keeps_checksums=True),
)
OF_SAFETENSORS = (Mutator(change_safetensors),)
OF_NPZ = (Mutator(change_npz, keeps_checksums=True),)
