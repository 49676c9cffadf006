"""Zip archives of arrays whose records hold what the directory claims, and no more.

An archive's directory states the size of each record. An archive that claims more bytes than the
file can hold is refused before anything is read. zipfile verifies the checksums.
"""

import zipfile
from pathlib import Path
from typing import TypeAlias

from common.terminal.short_repr import short_text
from models.errors import ModelError, UnsupportedFormatError

Records: TypeAlias = dict[str, zipfile.ZipInfo]  # by name

CODECS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_DEFLATE_RATIO = 1032  # that zlib can reach
MAX_DIRECTORY_BYTES = 16_000_000  # of more than 100,000 records


def opened(path: Path) -> tuple[zipfile.ZipFile, Records]:
    """Open an archive and check its directory.

    Args:
        path: The archive.

    Returns:
        The archive, and its records by name.

    Raises:
        ModelError: The archive contradicts itself, or is packed in an unsupported way. A damaged
            one raises any exception.
    """
    count, directory_bytes = _directory(path)
    # ZipFile would read the whole directory, and take a thousand bytes of memory for each record.
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise ModelError('the archive has too many records')
    archive = zipfile.ZipFile(path)
    if (len(archive.infolist()) - count) % (1 << 16):  # the count has 16 bits
        raise ModelError('the archive has another number of records than it claims')
    records = {info.filename: info for info in archive.infolist()}
    if len(records) != len(archive.infolist()):
        raise ModelError('two records of the archive have the same name')
    for name, info in records.items():
        if info.flag_bits & 1:
            raise UnsupportedFormatError('the archive is encrypted; unpack it, and save it anew')
        if info.compress_type not in CODECS:
            raise UnsupportedFormatError(
                f'{short_text(name)} is compressed as neither torch.save nor numpy does; save it '
                'anew'
            )
        ratio = MAX_DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1
        if info.file_size > ratio * info.compress_size:
            raise ModelError(f'the record {short_text(name)} claims more bytes than the file has')
    if sum(info.compress_size for info in records.values()) > path.stat().st_size:
        raise ModelError('the records of the archive claim more bytes than the file has')
    return archive, records


def _directory(path: Path) -> tuple[int, int]:
    """Return the number of records and the bytes of the directory that an archive claims."""
    with open(path, 'rb') as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # not in typeshed
    if end is None:
        raise zipfile.BadZipFile('its directory is missing')
    return end[zipfile._ECD_ENTRIES_TOTAL], end[zipfile._ECD_SIZE]  # type: ignore[attr-defined]


def content(archive: zipfile.ZipFile, record: zipfile.ZipInfo, start: int = 0) -> bytes:
    """Read a record and verify its checksum.

    Args:
        archive: The archive.
        record: The record.
        start: Number of bytes to leave out at the start.

    Returns:
        The bytes from ``start`` on.

    Raises:
        EOFError: The record is shorter than it claims. A damaged record raises any exception.
    """
    size = record.file_size - start
    with archive.open(record) as file:
        file.read(start)
        result = file.read(size)  # not read(), which unpacks more than the record claims
    if len(result) != size:
        raise EOFError(f'the record {short_text(record.filename)} ends early')
    return result
