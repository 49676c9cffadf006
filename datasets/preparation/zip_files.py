"""Read zip archives of unknown origin with Python's ``zipfile``."""

import bz2
import copy
import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from common.terminal.short_repr import short_text
from datasets.preparation.archive_members import (
    BLOCK_BYTES,
    LINK_OR_DEVICE,
    DamagedError,
    HarmfulError,
    Member,
)

LOCAL_HEADER_BYTES = 30  # before each member, without its name
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of a member
LIMITED_CODECS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # which zipfile reads in small blocks
CODECS = (*LIMITED_CODECS, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
CODEC_NAMES = {9: 'Deflate64', 93: 'Zstandard', 95: 'xz', 98: 'PPMd'}
MIN_LZMA_DICTIONARY = 4096


class ZipReader:
    """Reads the members of a zip archive."""

    def __init__(self, file: BinaryIO):
        self._archive = zipfile.ZipFile(file)

    def members(self) -> list[Member]:
        """Return all members.

        Raises:
            HarmfulError: Members share bytes, as in archives that unpack to petabytes.
        """
        entries = self._archive.infolist()
        end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < 0:
                raise DamagedError(f'{entry.filename!r} begins before it')
            if entry.header_offset < end:
                name = short_text(entry.filename)
                raise HarmfulError(f'{name!r} in it shares its bytes with another file')
            end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename)
            end += entry.compress_size
        if end > self._archive.start_dir:
            raise DamagedError('its files reach beyond their place')
        return [_member(entry) for entry in entries]

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in blocks; its checksum is verified."""
        entry: zipfile.ZipInfo = member.source
        if entry.compress_type not in LIMITED_CODECS:
            yield from self._decompressed(entry)
            return
        with self._archive.open(entry) as source:
            while block := source.read(BLOCK_BYTES):
                yield block

    def _decompressed(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of a member that ``zipfile`` would decompress in blocks of any size."""
        compressed = copy.copy(entry)
        compressed.compress_type = zipfile.ZIP_STORED
        compressed.file_size = entry.compress_size
        del compressed.CRC  # of the content, not of these bytes
        left, checksum = entry.file_size, 0
        with self._archive.open(compressed) as source:
            is_lzma = entry.compress_type == zipfile.ZIP_LZMA
            content = _lzma_file(source, entry.file_size) if is_lzma else bz2.BZ2File(source)
            while left and (block := content.read(min(left, BLOCK_BYTES))):
                left -= len(block)
                checksum = zlib.crc32(block, checksum)
                yield block
        if checksum != entry.CRC:
            raise DamagedError(f'Bad CRC-32 for file {entry.filename!r}')


def _lzma_file(source: IO[bytes], size: int) -> lzma.LZMAFile:
    """Return a stream of the content of an LZMA member, whose properties come first.

    The dictionary needs no more memory than the content.
    """
    head = source.read(4)
    properties = source.read(int.from_bytes(head[2:], 'little'))
    if len(properties) != 5:
        raise DamagedError('the properties of LZMA are damaged')
    dictionary = min(int.from_bytes(properties[1:], 'little'), size)
    numbers = {'lc': properties[0] % 9, 'lp': properties[0] // 9 % 5, 'pb': properties[0] // 45}
    lzma1 = {'id': lzma.FILTER_LZMA1, 'dict_size': max(MIN_LZMA_DICTIONARY, dictionary), **numbers}
    return lzma.LZMAFile(source, format=lzma.FORMAT_RAW, filters=[lzma1])


def _member(entry: zipfile.ZipInfo) -> Member:
    name = entry.orig_filename  # the other attribute ends at a null character
    is_folder = name.endswith('/')
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archiver did not record it
    problem = None
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = LINK_OR_DEVICE
    elif entry.flag_bits & ENCRYPTED:
        problem = 'needs a password'
    elif not is_folder and entry.compress_type not in CODECS:
        codec = CODEC_NAMES.get(entry.compress_type, f'method {entry.compress_type}')
        problem = f'is compressed by {codec}, which is not supported'
    return Member(name, entry.file_size, is_folder, problem, entry)
