"""Download and unpack the archives of a data set.

Archives are downloaded and unpacked in the folder ``<root>/.downloads``, and
:func:`common.downloading.download.fetch` resumes and verifies their downloads. Complete files are
moved from there into the layout that the reader expects. A list of the unpacked files of each
archive stays in the folder, so that a later call skips archives that are unpacked already.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from common import files
from common.downloading.download import MAX_UNDECLARED_BYTES, DownloadError, digest_mismatch, fetch
from common.errors import UserError
from common.log import LOG
from common.writing import lock_files, own_files
from datasets.info import DataError
from datasets.preparation.archive_members import BLOCK_BYTES
from datasets.preparation.archives import format_gigabytes, is_archive, unpack
from datasets.readers.contract import Archive
from datasets.registry import preparation

URL_VARIABLE = 'NNSEG_DATA_URL'  # environment variable: base address in place of the official ones
DOWNLOADS = '.downloads'
MAX_RECORD_BYTES = 1 << 28  # of the list of an archive's files


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
    if downloads.is_symlink():
        raise DataError(f'{downloads}: is a link and must be a folder; remove it')
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
        raise DataError(
            f'{error.filename or root}: cannot be written ({error.strerror or error})'
        ) from error
    LOG.info('%s: %s is complete', root, name)
    if known.remark:
        LOG.info('%s: %s', name, known.remark.format(root=root))


def _fetch(archive: Archive, folder: Path, base: str | None) -> Path:
    """Return the verified archive in ``folder``, downloaded if necessary."""
    target = folder / archive.file
    urls = (f'{base.rstrip("/")}/{archive.file}',) if base else archive.urls
    was_there = target.exists()
    try:
        fetch(
            urls,
            target,
            check=lambda path: _mismatch(archive, path),
            max_undeclared=2 * archive.size + MAX_UNDECLARED_BYTES,
        )
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
    if not is_archive(path):
        return 'is not a zip or tar archive'
    if archive.digest is None:
        return None
    algorithm, expected = archive.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, 'rb') as file:
        while chunk := file.read(BLOCK_BYTES):
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
    """Return whether all files of an earlier call still exist with their recorded sizes.

    A record that holds nothing, or is damaged, counts as missing: the archive is unpacked again.

    Raises:
        UserError: Something else than a file is in the place of the record.
    """
    record = _record(root, archive.file)
    try:
        content = own_files.read(record, MAX_RECORD_BYTES)
        lines = [line.partition(' ') for line in content.decode().removesuffix('\n').split('\n')]
        sizes = {place: int(size) for size, _, place in lines}
        return all(_size_of(root / place) == size for place, size in sizes.items())
    except FileNotFoundError:
        return False
    except ValueError:  # of a line without a size, or a name with a null character
        LOG.warning('%s: damaged, it is not a list of files; unpacking them again', record)
        return False


def _size_of(path: Path) -> int | None:
    """Return the size of a file in bytes; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
