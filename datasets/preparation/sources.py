"""Where data sets come from: archives to download and unpack, or a place where people register.

Everything is kept in ``<root>/.downloads`` until it is complete: archives, which are resumed and
verified by :func:`common.download.fetch`, and their unpacked files, which are renamed into the
layout that the reader expects. A list of an archive's files stays there, so that a later call knows
what is done.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from common import files
from common.download import DownloadError, digest_mismatch, fetch
from common.errors import UserError
from common.log import LOG
from datasets.info import DataError
from datasets.preparation.archives import CHUNK, gigabytes, unpack
from datasets.readers.contract import Archive
from datasets.registry import preparation

URL_VARIABLE = 'NNSEG_DATA_URL'  # environment: a base address instead of the official ones
DOWNLOADS = '.downloads'


def download(name: str, root: Path, base: str | None = None, keep_archives: bool = False) -> None:
    """Download and unpack what is not yet below ``root``.

    Args:
        name: The data set.
        root: Its folder.
        base: An address that takes the place of the official ones, else ``$NNSEG_DATA_URL``.
        keep_archives: Otherwise an archive is deleted when it is unpacked.

    Raises:
        DataError: It cannot be had from here, or something went wrong.
    """
    known = preparation(name)
    if not known.archives:
        place = known.elsewhere.format(root=root)
        raise DataError(f'{name} cannot be downloaded from here: {place}')
    base = base or os.environ.get(URL_VARIABLE)
    downloads = root / DOWNLOADS
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with open(downloads / 'lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = [archive for archive in known.archives if not _is_unpacked(archive, root)]
            _check_space(wanted, downloads, keep_archives)
            for archive in wanted:
                path = _fetch(archive, downloads, base)
                staging = downloads / f'{archive.file}.unpacking'
                sizes = unpack(path, root, archive.folders, staging)
                _write_record(_record(root, archive.file), sizes)
                if not keep_archives:
                    path.unlink()
    except OSError as error:
        raise DataError(f'{root}: cannot be written ({error.strerror or error})') from error
    LOG.info('%s: %s is complete', root, name)
    if known.remark:
        LOG.info('%s: %s', name, known.remark.format(root=root))


def _fetch(archive: Archive, folder: Path, base: str | None) -> Path:
    """The archive in ``folder``, verified."""
    target = folder / archive.file
    urls = (f'{base.rstrip("/")}/{archive.file}',) if base else archive.urls
    was_there = target.exists()
    try:
        fetch(urls, target, check=lambda path: _mismatch(archive, path))
        modified = digest_mismatch(target) if was_there else None
    except DownloadError as error:
        raise DataError(
            f'cannot download {archive.file} ({error}); call again to go on where it ended, name '
            f'another address with --url or {URL_VARIABLE}, or put the file at {target}'
        ) from error
    except UserError as error:
        raise DataError(str(error)) from error
    wrong = _mismatch(archive, target) if was_there else None
    if wrong or modified:
        raise DataError(f'{target} {wrong}; delete it to download it again' if wrong else modified)
    return target


def _mismatch(archive: Archive, path: Path) -> str | None:
    """What shows that a file is not the archive, for :func:`common.download.fetch`."""
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return 'is no zip or tar archive'
    if archive.digest is None:
        return None
    algorithm, expected = archive.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f'has the {algorithm} {found} instead of {expected}'


def _check_space(archives: list[Archive], folder: Path, keep_archives: bool) -> None:
    """Raise ``DataError`` before hours of downloading when the files cannot fit."""
    sizes = [archive.size for archive in archives]
    parts = [path for archive in archives for path in folder.glob(f'{archive.file}*')]
    there = sum(path.stat().st_size for path in parts if path.is_file())
    needed = sum(sizes) + (sum(sizes) if keep_archives else max(sizes, default=0)) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f'{folder.parent}: needs about {gigabytes(needed)}, {gigabytes(free)} are free; name '
            'a folder on another disk with -d'
        )


def _write_record(record: Path, sizes: Mapping[str, int]) -> None:
    with files.replacing(record) as temporary:
        lines = [f'{size} {place}\n' for place, size in sizes.items()]
        temporary.write_text(''.join(lines), encoding='utf-8')


def _record(root: Path, archive: str) -> Path:
    return root / DOWNLOADS / f'{archive}.files'


def _is_unpacked(archive: Archive, root: Path) -> bool:
    """Whether all files of an earlier call are still there, with the sizes they had."""
    record = _record(root, archive.file)
    if not record.exists():
        return False
    for line in record.read_text(encoding='utf-8').splitlines():
        size, _, place = line.partition(' ')
        path = root / place
        if not path.is_file() or path.stat().st_size != int(size):
            return False
    return True
