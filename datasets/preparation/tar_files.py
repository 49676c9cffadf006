"""Read tar archives of unknown origin, plain or compressed by gzip, bzip2 or xz.

Python's ``tarfile`` decodes the header blocks; this module walks from one to the next. ``tarfile``
of Python 3.10 allocates what an extended header claims, takes quadratic time for a malformed one,
reads some headers of sparse files without end, and ends at a damaged header as if the archive ended
there.
"""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

from datasets.preparation.archive_members import (
    BLOCK_BYTES,
    LINK_OR_DEVICE,
    DamagedError,
    Member,
    refuse_bomb,
)

HEADER_BYTES = tarfile.BLOCKSIZE
MAX_EXTENDED_BYTES = 1 << 20  # of an extended header, which can hold attributes of the file
MAX_XZ_MEMORY = 1 << 28  # xz -9 needs 65 MB
PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
GNU_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
LINK_TYPES = (tarfile.SYMTYPE, tarfile.LNKTYPE)
DEVICE_TYPES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class TarReader:
    """Reads the members of a tar archive."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._stream = _Stream(file)

    def members(self) -> Iterator[Member]:
        """Yield all members in the order of the archive.

        Raises:
            DamagedError: A header is damaged, or the archive is cut off.
            OSError: The checksum of a compressed archive is wrong; decompressors have more errors.
            HarmfulError: The archive unpacks to too many bytes.
        """
        stream = self._stream = _Stream(self._file)
        extended: dict[bytes, bytes] = {}
        while (header := _header(stream)) is not None:
            if header.size < 0:
                raise DamagedError(f'the size {header.size} at byte {header.offset}')
            if header.type in (*PAX_TYPES, *GNU_NAMES, tarfile.XGLTYPE):
                extended |= _extended(stream, header)
                continue
            member = _member(header, extended, stream.position)
            yield member
            if not member.is_folder:
                stream.skip(_padded(member.size))
            extended = {}
        stream.verify_checksum()

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in blocks; members are read in the order of the archive."""
        if member.source < self._stream.position:
            self._stream = _Stream(self._file)
        self._stream.skip(member.source - self._stream.position)
        left = member.size
        while left:
            block = self._stream.read(min(left, BLOCK_BYTES))
            left -= len(block)
            yield block


def is_tar(file: BinaryIO) -> bool:
    """Return whether a file begins like a tar archive, plain or compressed."""
    try:
        _header(_Stream(file))
    except Exception:  # whatever a decompressor makes of another file
        return False
    return True


def _header(stream: '_Stream') -> tarfile.TarInfo | None:
    """Return the next header; None at the end of the archive."""
    offset = stream.position
    block = stream.read(HEADER_BYTES)
    if not any(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, 'utf-8', 'surrogateescape')
    except (tarfile.TarError, ValueError) as error:
        raise DamagedError(f'{error} at byte {offset}') from error
    header.offset = offset
    return header


def _extended(stream: '_Stream', header: tarfile.TarInfo) -> dict[bytes, bytes]:
    """Return what an extended header says about the next member: its path, size, sparseness."""
    if header.size > MAX_EXTENDED_BYTES:
        raise DamagedError(f'an extended header of {header.size} bytes at byte {header.offset}')
    data = stream.read(_padded(header.size))[: header.size]
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {b'path': data.partition(b'\0')[0]}
    if header.type == tarfile.GNUTYPE_LONGLINK:
        return {}
    try:
        found = _pax_records(data)
    except ValueError as error:
        raise DamagedError(f'a bad extended header at byte {header.offset}') from error
    if header.type == tarfile.XGLTYPE and found:
        raise DamagedError(f'a header for all files at byte {header.offset} sets {list(found)}')
    return found


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header that matter; raise ``ValueError`` if it is malformed.

    A record is its length in decimal digits, a blank, a key, ``=``, a value and a line break.
    """
    found = {}
    position = 0
    while position < len(data):
        blank = data.index(b' ', position, position + 20)
        end = position + int(data[position:blank])
        if not blank < end <= len(data) or data[end - 1 : end] != b'\n':
            raise ValueError('wrong length')
        key, _, value = data[blank + 1 : end - 1].partition(b'=')
        if key in (b'path', b'size'):
            found[key] = value
        elif key.startswith(b'GNU.sparse'):
            found[b'GNU.sparse'] = b''
        position = end
    return found


def _member(header: tarfile.TarInfo, extended: dict[bytes, bytes], offset: int) -> Member:
    name, size = header.name, header.size
    if b'path' in extended:
        name = extended[b'path'].decode('utf-8', 'surrogateescape')
    if b'size' in extended:
        digits = extended[b'size']
        if not digits.isdigit() or len(digits) > 18:
            raise DamagedError(f'the size {digits[:30]!r} of {name!r}')
        size = int(digits)
    problem = None
    if header.type == tarfile.GNUTYPE_SPARSE or b'GNU.sparse' in extended:
        problem = 'is a sparse file, which is not unpacked'
    elif header.type in (*LINK_TYPES, *DEVICE_TYPES):
        problem = LINK_OR_DEVICE
    elif header.type not in (*FILE_TYPES, tarfile.DIRTYPE):
        problem = f'is of the unknown type {header.type!r}'
    return Member(name, size, header.type == tarfile.DIRTYPE, problem, offset)


def _padded(size: int) -> int:
    """Return the number of bytes that some content takes in an archive."""
    return -(-size // HEADER_BYTES) * HEADER_BYTES


class _Stream:
    """Reads an archive forwards from its start, and counts the bytes after decompression."""

    def __init__(self, file: BinaryIO):
        self.position = 0
        self._length = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._source = _decompressed(file)
        self._is_plain = self._source is file

    def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        self._advance(count)
        data = self._source.read(count)
        if len(data) < count:
            raise DamagedError(f'it ends at byte {self.position - count + len(data)}')
        return data

    def skip(self, count: int) -> None:
        """Go forward."""
        if self._is_plain:
            self._advance(count)
            self._source.seek(count, io.SEEK_CUR)
            return
        while count:
            count -= len(self.read(min(count, BLOCK_BYTES)))

    def verify_checksum(self) -> None:
        """Read a compressed archive to its very end, where most formats have their checksum."""
        while not self._is_plain and (data := self._source.read(BLOCK_BYTES)):
            self._advance(len(data))

    def _advance(self, count: int) -> None:
        self.position += count
        if not self._is_plain:
            refuse_bomb(self._length, self.position)
        elif self.position > self._length:
            raise DamagedError(f'it ends at byte {self._length}')


def _decompressed(file: BinaryIO) -> IO[bytes] | Any:
    """Return a stream of the bytes of a tar archive."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b'\x1f\x8b'):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b'BZh'):
        return bz2.BZ2File(file)
    if start.startswith(b'\xfd7zXZ\0'):
        return io.BufferedReader(_XzFile(file))
    return file


class _XzFile(io.RawIOBase):
    """Reads an ``.xz`` file with limited memory, which ``lzma.open`` does not offer."""

    def __init__(self, file: BinaryIO):
        self._file, self._data = file, b''
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_XZ_MEMORY)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer and return the number of bytes."""
        while not self._decoder.eof or self._begin_next():
            if self._decoder.needs_input and not self._data:
                self._data = self._file.read(BLOCK_BYTES)
                if not self._data:
                    raise EOFError('it is cut off')
            block = self._decoder.decompress(self._data, len(buffer))
            self._data = b''
            if block:
                buffer[: len(block)] = block
                return len(block)
        return 0

    def _begin_next(self) -> bool:
        """Begin with the next of several concatenated streams; return whether there is one."""
        self._data = self._decoder.unused_data.lstrip(b'\0')
        while not self._data and (block := self._file.read(BLOCK_BYTES)):
            self._data = block.lstrip(b'\0')
        if self._data:
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_XZ_MEMORY)
        return bool(self._data)
