"""Download and unpack the archives of a data set.

Archives are downloaded and unpacked in the folder ``<root>/.downloads``, and
:func:`common.download.fetch` resumes and verifies their downloads. Complete files are moved from
there into the layout that the reader expects. A list of the unpacked files of each archive stays in
the folder, so that a later call skips archives that are unpacked already.
"""

import hashlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from common import files, lock_files
from common.download import DownloadError, digest_mismatch, fetch
from common.errors import UserError
from common.log import LOG
from datasets.info import DataError
from datasets.preparation.archives import CHUNK_BYTES, format_gigabytes, unpack
from datasets.readers.contract import Archive
from datasets.registry import preparation

URL_VARIABLE = 'NNSEG_DATA_URL'  # environment variable: base address in place of the official ones
DOWNLOADS = '.downloads'


def download(name: str, root: Path, base: str | None = None, keep_archives: bool = False) -> None:
    """Download and unpack the files that are missing below ``root``.

    Args:
        name: Name of the data set.
        root: Folder of the data set.
        base: Base address in place of the official ones; by default ``$NNSEG_DATA_URL``.
        keep_archives: Keep an archive after unpacking it.

    Raises:
        DataError: The data set has no automatic download, the disk is too small, a download
            failed, or an archive is damaged or harmful.
    """
    known = preparation(name)
    if not known.archives:
        place = known.elsewhere.format(root=root)
        raise DataError(f'{name} has no automatic download: {place}')
    base = base or os.environ.get(URL_VARIABLE)
    downloads = root / DOWNLOADS
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with lock_files.waiting(downloads / 'lock'):
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
    """Return the verified archive in ``folder``, downloaded if necessary."""
    target = folder / archive.file
    urls = (f'{base.rstrip("/")}/{archive.file}',) if base else archive.urls
    was_there = target.exists()
    try:
        fetch(urls, target, check=lambda path: _mismatch(archive, path))
        modified = digest_mismatch(target) if was_there else None
    except DownloadError as error:
        raise DataError(
            f'cannot download {archive.file} ({error}); run again to resume, name another '
            f'address with --url or {URL_VARIABLE}, or put the file at {target}'
        ) from error
    except UserError as error:
        raise DataError(str(error)) from error
    wrong = _mismatch(archive, target) if was_there else None
    if wrong or modified:
        raise DataError(f'{target} {wrong}; delete it to download it again' if wrong else modified)
    return target


def _mismatch(archive: Archive, path: Path) -> str | None:
    """Return why a file is not the expected archive; None if it is."""
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return 'is not a zip or tar archive'
    if archive.digest is None:
        return None
    algorithm, expected = archive.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f'has the {algorithm} {found} instead of {expected}'


def _check_space(archives: list[Archive], folder: Path, keep_archives: bool) -> None:
    """Raise ``DataError`` before a long download if the files do not fit on the disk."""
    sizes = [archive.size for archive in archives]
    parts = [path for archive in archives for path in folder.glob(f'{archive.file}*')]
    there = sum(path.stat().st_size for path in parts if path.is_file())
    needed = sum(sizes) + (sum(sizes) if keep_archives else max(sizes, default=0)) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f'{folder.parent}: needs about {format_gigabytes(needed)}, {format_gigabytes(free)} '
            'are free; name a folder on another disk with -d'
        )


def _write_record(record: Path, sizes: Mapping[str, int]) -> None:
    with files.replacing(record) as temporary:
        lines = [f'{size} {place}\n' for place, size in sizes.items()]
        temporary.write_text(''.join(lines), encoding='utf-8')


def _record(root: Path, archive: str) -> Path:
    return root / DOWNLOADS / f'{archive}.files'


def _is_unpacked(archive: Archive, root: Path) -> bool:
    """Return whether all files of an earlier call still exist with their recorded sizes."""
    record = _record(root, archive.file)
    if not record.exists():
        return False
    for line in record.read_text(encoding='utf-8').splitlines():
        size, _, place = line.partition(' ')
        path = root / place
        if not path.is_file() or path.stat().st_size != int(size):
            return False
    return True
