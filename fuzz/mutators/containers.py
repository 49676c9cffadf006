"""Damage to zip and tar archives and compressed streams that knows their structure."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Sequence

import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_ODD_NAMES = (
    '', '/', '..', '../x', '/etc/x', 'a\\..\\..\\x', 'C:/x', 'a\x1b[2J', 'a\nb', 'x' * 5000,
    'a/' * 500 + 'b',
    '\udcff', 'con', '.', './/a', 'a/../../b', ' ', '\u202e', 'data.pkl', 'archive/data.pkl',
)  # fmt: skip
_FIELDS = {  # offsets of fields in an entry of a zip's directory: size of the field
    4: 2, 6: 2, 8: 2, 10: 2, 16: 4, 20: 4, 24: 4, 28: 2, 30: 2, 32: 2, 34: 2, 36: 2, 38: 4, 42: 4,
}  # fmt: skip
_VALUES = (0, 1, 8, 9, 12, 14, 93, 99, 2**15, 2**16 - 1, 2**31, 2**32 - 1)


def change_zip_entry(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a field in the directory of a zip, such as a size, a method or a flag."""
    places = _occurrences(data, b'PK\x01\x02') or _occurrences(data, b'PK\x03\x04')
    if not places:
        return data
    offset = pick(rng, list(_FIELDS))
    size, place = _FIELDS[offset], pick(rng, places) + offset
    value = pick(rng, _VALUES) % (1 << 8 * size)
    return data[:place] + struct.pack('<' + {2: 'H', 4: 'I'}[size], value) + data[place + size :]


def rebuild_zip(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Write a zip again with a member renamed, dropped, repeated, damaged or inflated."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # already damaged
        return data
    if not members:
        return data
    index, way = int(rng.integers(len(members))), int(rng.integers(7))
    name, content = members[index]
    method = zipfile.ZIP_STORED
    if way == 0:
        members[index] = pick(rng, _ODD_NAMES), content
    elif way == 1:
        del members[index]
    elif way == 2:
        members.append((name, content[: len(content) // 2]))
    elif way == 3:
        members[index] = name, b''
    elif way == 4 and content:
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 8))):
            changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
        members[index] = name, bytes(changed)
    elif way == 5:
        members[index] = name, content + bytes(int(pick(rng, [1, 1000, 1 << 22, 1 << 26])))
        method = zipfile.ZIP_DEFLATED
    else:
        method = pick(rng, [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    return zipped(members, method)


def rebuild_tar(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Write a tar again, with a member of another name, type, size, mode or extended header."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [(m, archive.extractfile(m)) for m in archive]
            contents = [(m, file.read() if file else b'') for m, file in members]
    except Exception:  # already damaged
        return data
    if not contents:
        return data
    entry, content = pick(rng, contents)
    way = int(rng.integers(6))
    if way == 0:
        entry.name = pick(rng, _ODD_NAMES[1:])
    elif way == 1:
        entry.type = pick(
            rng, [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b'S', b'Z']
        )
        entry.linkname = pick(rng, ['/etc/passwd', '../..', entry.name, ''])
    elif way == 2:
        entry.mode = int(pick(rng, [0, 0o777, 0o7777, 0o4755]))
    elif way == 3:
        entry.pax_headers = {
            pick(rng, ['path', 'size', 'mtime', 'GNU.sparse.map', 'hdrcharset', 'uid']): pick(
                rng, ['-1', '9' * 400, 'nan', '../x', 'a\0b', '1,2,3', '']
            )
        }
    elif way == 4:
        entry.mtime = pick(rng, [-1.5, 2.0**40, 1e300])
    else:
        entry.size = int(pick(rng, [0, 1, 2**30, 2**33 - 1]))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for each, part in contents:
            try:
                header = each.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape')
            except Exception:  # the format has no room for such a value
                continue
            buffer.write(header + part + bytes(-len(part) % 512))
    return buffer.getvalue() + bytes(1024)


def recompress(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Compress the whole file, perhaps damaged afterwards, or with a huge end of zeros."""
    data += bytes(int(pick(rng, [0, 0, 1000, 1 << 26])))
    way = int(rng.integers(3))
    packed = bytearray(
        gzip.compress(data, mtime=0)
        if way == 0
        else bz2.compress(data)
        if way == 1
        else lzma.compress(data)
    )
    if rng.random() < 0.5:
        packed[int(rng.integers(len(packed)))] ^= 1 << int(rng.integers(8))
    return bytes(packed[: int(rng.integers(len(packed)))] if rng.random() < 0.3 else packed)


def zipped(members: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive without times."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, 'w') as archive:
        warnings.simplefilter('ignore')  # of repeated names
        for name, content in members:
            info = zipfile.ZipInfo('x')
            info.filename, info.compress_type = name.encode(errors='replace').decode(), method
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a tar archive without times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _occurrences(data: bytes, mark: bytes) -> list[int]:
    places, start = [], data.find(mark)
    while start >= 0:
        places.append(start)
        start = data.find(mark, start + 1)
    return places


OF_ZIP = (Mutator(change_zip_entry), Mutator(rebuild_zip, keeps_checksums=True))
OF_TAR = (Mutator(rebuild_tar, keeps_checksums=True),)
OF_STREAMS = (Mutator(recompress, keeps_checksums=True),)
