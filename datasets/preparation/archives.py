"""Unpack untrusted zip and tar archives.

An archive is refused before anything is written if it contains a path outside its folder, a link, a
device or an encrypted file.
"""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from common import write_targets
from common.files import LARGE_BYTES
from common.log import LOG
from common.progress import ProgressBar
from datasets.info import DataError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Member:
    """A file in an archive; ``entry`` is the object of the zipfile or tarfile module."""

    name: str
    size: int
    entry: zipfile.ZipInfo | tarfile.TarInfo


def unpack(path: Path, root: Path, folders: Mapping[str, str], staging: Path) -> dict[str, int]:
    """Unpack parts of an archive below ``root``; only complete files appear there.

    Args:
        path: The archive.
        root: The folder of the data set.
        folders: Target paths below the root, by path in the archive; the rest is not unpacked.
        staging: A folder on the same disk for incomplete files; existing content is removed.

    Returns:
        Sizes in bytes by path below the root.

    Raises:
        DataError: The archive is harmful or damaged, lacks one of ``folders``, or is too large for
            the disk.
        OSError: A file cannot be written.
    """
    staging.parent.mkdir(parents=True, exist_ok=True)
    if staging.exists():
        shutil.rmtree(staging)
    with _opened(path) as (members, read):
        places = _places(path, members, folders)
        needed = sum(member.size for member in places.values())
        free = shutil.disk_usage(staging.parent).free
        if needed > free:
            raise DataError(
                f'{path}: needs {format_gigabytes(needed)} to unpack, '
                f'{format_gigabytes(free)} are free'
            )
        if needed >= LARGE_BYTES:
            LOG.info('unpacking %s, %s', path, format_gigabytes(needed))
        with ProgressBar(
            desc=f'unpacking {path.name}',
            total=needed,
            unit='B',
            unit_scale=True,
            disable=None,
            leave=False,
        ) as bar:
            for place, member in places.items():
                (staging / place).parent.mkdir(parents=True, exist_ok=True)
                with read(member.entry) as source, open(staging / place, 'wb') as target:
                    while chunk := source.read(CHUNK_BYTES):
                        target.write(chunk)
                        bar.update(len(chunk))
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / place, write_targets.target_of(root / place))
    shutil.rmtree(staging)
    return {place: member.size for place, member in places.items()}


def format_gigabytes(size: float) -> str:
    """Return a number of bytes in gigabytes, such as ``1.5 GB``."""
    return f'{size / 1e9:.1f} GB'


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[_Member], Callable[..., IO[bytes]]]]:
    """Check all files in an archive; yield them, and a function that opens one of them."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_members(path, archive), archive.open
        else:
            with tarfile.open(path) as archive:
                yield _tar_members(path, archive), partial(_open_member, archive)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        NotImplementedError,  # from zipfile, for an unsupported compression
    ) as error:
        raise DataError(f'{path}: damaged archive ({error}); delete it and run again') from error


def _open_member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    assert content is not None, '_tar_members returns files only'
    return content


def _zip_members(path: Path, archive: zipfile.ZipFile) -> list[_Member]:
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 if the archiver did not record it
        plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        _refuse_harmful(path, entry.filename, plain)
        if entry.flag_bits & 1:
            raise DataError(f'{path}: refused, {entry.filename!r} in it needs a password')
    return [
        _Member(entry.filename, entry.file_size, entry)
        for entry in archive.infolist() if not entry.is_dir()
    ]  # fmt: skip


def _tar_members(path: Path, archive: tarfile.TarFile) -> list[_Member]:
    for entry in archive:
        _refuse_harmful(path, entry.name, entry.isfile() or entry.isdir())
    return [_Member(entry.name, entry.size, entry) for entry in archive if entry.isfile()]


def _refuse_harmful(path: Path, name: str, plain: bool) -> None:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or '..' in windows.parts:
        raise DataError(f'{path}: refused, {name!r} in it points outside the folder')
    if not plain:
        raise DataError(f'{path}: refused, {name!r} in it is a link or a device')


def _places(path: Path, members: list[_Member], folders: Mapping[str, str]) -> dict[str, _Member]:
    """Return the requested members by path below the root; of duplicates, the last one."""
    places = {}
    for origin, place in folders.items():
        chosen = [m for m in members if PurePosixPath(m.name).is_relative_to(origin)]
        if not chosen:
            raise DataError(f'{path}: contains no {origin or "files"}; is it the right archive?')
        for member in chosen:
            below = PurePosixPath(member.name).relative_to(origin)
            places[str(PurePosixPath(place) / below)] = member
    return places
