"""Unpack untrusted zip and tar archives.

An archive is refused before anything is written if it contains a path outside its folder, a link, a
device, an encrypted file or an odd name, or if it unpacks to far more than its own size.
"""

import os
import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import BinaryIO, Protocol

from common.downloading.download import record_of
from common.files import LARGE_BYTES
from common.log import LOG
from common.terminal.progress import ProgressBar
from common.terminal.short_repr import short_text
from common.writing.write_targets import MAX_NAME_BYTES
from datasets.info import DataError
from datasets.preparation.archive_members import DamagedError, HarmfulError, Member, refuse_bomb
from datasets.preparation.tar_files import TarReader, is_tar
from datasets.preparation.zip_files import ZipReader

ZIP_STARTS = b'PK\x03\x04', b'PK\x05\x06'
MAX_DEPTH = 100  # folders in folders
DRIVE = re.compile('[A-Za-z]:')  # of Windows
REMEDY = 'delete it, or unpack it by another program if you trust it'
ODD = {  # categories of Unicode
    'Cs': 'has a name that is not UTF-8',
    'Cc': 'has a control character in its name',
    'Zl': 'has a line break in its name',
    'Zp': 'has a line break in its name',
}


class _Reader(Protocol):
    """What reads one kind of archive."""

    def members(self) -> Iterable[Member]:
        """Return all members in the order of the archive."""

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in blocks."""


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
            the disk; or ``root`` has something in the place of its files.
        OSError: A file cannot be written.
    """
    staging.parent.mkdir(parents=True, exist_ok=True)
    if staging.is_symlink():
        raise DataError(f'{staging}: is a link and must be a folder; remove it')
    if staging.exists():
        shutil.rmtree(staging)
    with _opened(path) as file:
        with _reading(path):
            reader = _reader(file)
            if reader is None:
                raise DamagedError('it is not a zip or tar archive')
            places = _places(path, reader.members(), folders)
            needed = sum(member.size for member in places.values())
            refuse_bomb(path.stat().st_size, needed)
        free = shutil.disk_usage(staging.parent).free
        if needed > free:
            raise DataError(
                f'{path}: needs {format_gigabytes(needed)} to unpack, '
                f'{format_gigabytes(free)} are free'
            )
        _refuse_obstacles(root, places, staging)
        if needed >= LARGE_BYTES:
            LOG.info('unpacking %s, %s', path, format_gigabytes(needed))
        try:
            _write(path, reader, places, staging)
            for place in places:
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / place, root / place)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return {place: member.size for place, member in places.items()}


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip or tar archive.

    Raises:
        DataError: The file cannot be read.
    """
    with _opened(path) as file, suppress(Exception):  # a damaged directory of a zip archive
        return _reader(file) is not None
    return False


def format_gigabytes(size: float) -> str:
    """Return a number of bytes in gigabytes, such as ``1.5 GB``."""
    return f'{size / 1e9:.1f} GB'


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, 'rb')
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror})') from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert everything that a hostile or damaged archive can cause to ``DataError``."""
    try:
        yield
    except DataError:
        raise
    except HarmfulError as error:
        raise DataError(f'{path}: refused, {error}; {REMEDY}') from error
    except Exception as error:  # of zipfile, tarfile, the decompressors; MemoryError as well
        reason = str(error) or type(error).__name__
        both = f'{quote(str(path))} {quote(str(record_of(path)))}'
        raise DataError(
            f'{path}: damaged archive ({short_text(reason)}); delete it and the record of its '
            f'SHA-256 by rm -f {both} and run again'
        ) from error


def _reader(file: BinaryIO) -> _Reader | None:
    """Return the reader of an archive; None if the file is no archive."""
    is_zip = False
    with suppress(Exception):  # a damaged directory at its end
        is_zip = zipfile.is_zipfile(file)
    file.seek(0)
    if is_zip and file.read(4) in ZIP_STARTS:
        return ZipReader(file)
    if is_tar(file):  # its last file can be a zip archive
        return TarReader(file)
    return ZipReader(file) if is_zip else None


def _places(path: Path, members: Iterable[Member], folders: Mapping[str, str]) -> dict[str, Member]:
    """Return the requested files by path below the root, in the order of the archive.

    Of several files of one name the last one counts.
    """
    places: dict[str, Member] = {}
    occupied = set[str]()  # by folders
    empty = dict.fromkeys(folders)
    archive_bytes = path.stat().st_size
    for number, member in enumerate(members):
        refuse_bomb(archive_bytes, 0, number)
        name = _normal_name(member)
        for origin, target in folders.items():
            if origin and name != origin and not name.startswith(f'{origin}/'):
                continue
            place = '/'.join(filter(None, (target, name[len(origin) :].strip('/'))))
            if member.is_folder:
                occupied.add(place)
                continue
            empty.pop(origin, None)
            places.pop(place, None)  # to keep the order of the archive
            places[place] = member
    if empty:
        origin = next(iter(empty))
        raise DataError(f'{path}: contains no {origin or "files"}; is it the right archive?')
    for place in places:
        while (place := place.rpartition('/')[0]) and place not in occupied:
            occupied.add(place)
    if both := occupied & places.keys():
        raise HarmfulError(f'{short_text(places[min(both)].name)!r} in it is a file and a folder')
    return places


def _normal_name(member: Member) -> str:
    """Return the name of a member without superfluous parts; raise ``HarmfulError`` if it is odd.

    All members are examined, also those that are not unpacked.
    """
    name = member.name
    parts = [part for part in name.split('/') if part not in ('', '.')]
    problem = member.problem
    if name.startswith(('/', '\\')) or DRIVE.match(name) or '..' in re.split(r'[/\\]', name):
        problem = 'points outside the folder'
    elif '\\' in name:
        problem = 'has a backslash in its name'
    elif not (name.isascii() and name.isprintable()):
        categories = {unicodedata.category(character) for character in name}
        problem = next((ODD[each] for each in ODD if each in categories), problem)
    elif not parts and not member.is_folder:
        problem = 'has no name'
    if len(parts) > MAX_DEPTH:
        problem = f'lies in more than {MAX_DEPTH} folders'
    elif any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        problem = 'has a name that is too long'
    if problem:
        raise HarmfulError(f'{short_text(name)!r} in it {problem}')
    return '/'.join(parts)


def _refuse_obstacles(root: Path, places: Iterable[str], staging: Path) -> None:
    """Raise ``DataError`` if something in a folder is in the place of a file or leads elsewhere."""
    real_root = os.path.realpath(root)
    folders = set[str]()
    # The folder of downloads holds archives and their records, too.
    own = staging.parent if root in staging.parent.parents else staging
    for place in places:
        if own in (root / place).parents:
            raise DataError(f'{root / place}: is no place for files of an archive; {REMEDY}')
        _refuse_other(root / place, stat.S_IFREG, real_root)
        while (place := place.rpartition('/')[0]) and place not in folders:
            folders.add(place)
            _refuse_other(root / place, stat.S_IFDIR, real_root)


def _refuse_other(path: Path, kind: int, real_root: str) -> None:
    """Raise ``DataError`` if something else than a file or a folder is at a path."""
    try:
        found = stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if found == kind:
        return
    if found == stat.S_IFLNK:
        leads = os.path.realpath(path)
        if kind == stat.S_IFDIR and os.path.isdir(leads) and leads.startswith(f'{real_root}/'):
            return
        raise DataError(f'{path}: is a link; remove it, or name another folder with -d')
    expected = 'file' if kind == stat.S_IFREG else 'folder'
    raise DataError(f'{path}: is not a {expected}, but the archive has one there; remove it')


def _write(path: Path, reader: _Reader, places: Mapping[str, Member], staging: Path) -> None:
    """Write the content of the members below a new folder."""
    with ProgressBar(
        desc=f'unpacking {path.name}',
        total=sum(member.size for member in places.values()),
        unit='B',
        unit_scale=True,
        disable=None,
        leave=False,
    ) as bar:
        for place, member in places.items():
            target = staging / place
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, 'xb') as file:  # new: file systems that ignore case merge names
                    for block in _content(path, reader, member):
                        file.write(block)
                        bar.update(len(block))
            except OSError as error:
                raise DataError(
                    f'{path}: {short_text(member.name)!r} in it cannot be written '
                    f'({error.strerror})'
                ) from error


def _content(path: Path, reader: _Reader, member: Member) -> Iterator[bytes]:
    """Yield the content of a member in blocks, as many bytes as declared."""
    left = member.size
    with _reading(path):
        try:
            for block in reader.content(member):
                left -= len(block)
                yield block
        except HarmfulError:
            raise
        except Exception as error:
            raise DamagedError(f'{member.name!r}: {error}') from error
        if left:
            raise DamagedError(f'{member.name!r}: {member.size - left} of {member.size} bytes')
