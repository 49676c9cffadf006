"""Read zip archives of unknown origin with Python's ``zipfile``."""

import stat
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from datasets.preparation.archive_members import (
    BLOCK_BYTES,
    LINK_OR_DEVICE,
    DamagedError,
    HarmfulError,
    Member,
)

LOCAL_HEADER_BYTES = 30  # before each member, without its name
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags of a member
CODECS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile reads others without a limit
CODEC_NAMES = {9: 'Deflate64', 12: 'bzip2', 14: 'LZMA', 93: 'Zstandard', 95: 'xz', 98: 'PPMd'}


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
                raise HarmfulError(f'{entry.filename!r} in it shares its bytes with another file')
            end = entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename)
            end += entry.compress_size
        if end > self._archive.start_dir:
            raise DamagedError('its files reach beyond their place')
        return [_member(entry) for entry in entries]

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in blocks; its checksum is verified."""
        with self._archive.open(member.source) as source:
            while block := source.read(BLOCK_BYTES):
                yield block


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
        problem = f'is compressed by {codec}; only stored and deflated files are unpacked'
    return Member(name, entry.file_size, is_folder, problem, entry)
