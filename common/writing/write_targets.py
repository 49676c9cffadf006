"""Where a file is written: the target of a link, and a temporary file or folder beside it.

Temporary names are random, so that nobody can put something of his own there first, and so that
threads and processes that write the same file do not meet.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import UserError
from common.writing import lock_files

MAX_LINKS = 40  # in a row, as on Linux
MAX_NAME_BYTES = 255  # of a file name on the file systems of Linux
MAX_ENDING_BYTES = 32  # longer ones name no format
MARK = '.nnseg-'
TEMPORARY_NAME = re.compile(rf'\..*{re.escape(MARK)}[0-9a-f]{{16}}(\.[^.]+)?', re.DOTALL)


def target_of(path: Path) -> Path:
    """Return the path to which a link leads, over other links; any other path stays as it is.

    The search ends at the links in /dev and /proc, which stand for open files.

    Raises:
        UserError: The links form a cycle, or the path is none.
    """
    if '\0' in str(path):
        raise UserError(f'{path}: cannot be written (its name contains a null character)')
    found = path
    for _ in range(MAX_LINKS):
        if _is_of_system(found) or not os.path.islink(found):
            return found
        found = found.parent / os.readlink(found)
    cause = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    raise UserError(
        f'{path}: cannot be written (its links form a cycle); remove the link'
    ) from cause


def is_stream(path: Path) -> bool:
    """Return whether a path names a device or a pipe, or by way of /dev or /proc an open file.

    Args:
        path: A result of :func:`target_of`.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISDIR(mode):
        return False
    return not stat.S_ISREG(mode) or _is_of_system(path)


def refuse_stream(path: Path) -> None:
    """Check that a path which the user did not name is no pipe or device: it could block for ever.

    Raises:
        UserError: It is one.
    """
    if is_stream(path):
        raise UserError(f'{path}: is a pipe or a device instead of a file; remove it')


def refuse_streams(folder: Path) -> None:
    """Check all files of a folder with :func:`refuse_stream`; a missing folder has none.

    Raises:
        UserError: There is a pipe or a device, or the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f'{folder}: cannot be read ({error.strerror})') from error
    for path in paths:
        refuse_stream(path)


def _is_of_system(path: Path) -> bool:
    """Return whether a path is in /dev or /proc, except /dev/shm, which holds ordinary files."""
    parts = Path(os.path.abspath(path)).parts[1:3]
    return parts[:1] in (('dev',), ('proc',)) and parts != ('dev', 'shm')


def create_beside(path: Path, mode: int = 0o666) -> Path:
    """Create an empty file with a random name and the ending of ``path`` in the same folder.

    Args:
        path: The file to be written, a result of :func:`target_of`.
        mode: Permissions, of which the process's umask removes some.

    Raises:
        OSError: The file cannot be created.
    """

    def create(name: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, mode))

    return _create(path, create)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a new folder with a random name beside ``path``, which is locked inside the block.

    The block can rename it; otherwise it is removed. Folders that killed processes left for the
    same path are removed first: nobody holds their locks any more.

    Raises:
        OSError: The folder cannot be created.
    """
    for left in _leftovers(path.parent, stat.S_ISDIR):
        if left.name.startswith(f'.{path.stem}{MARK}'):
            with suppress(OSError), _locked_folder(left) as is_mine:
                if is_mine:
                    shutil.rmtree(left)
    folder = _create(path, os.mkdir)
    try:
        with _locked_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked_folder(folder: Path) -> Iterator[bool]:
    """Lock a folder inside the block; yield False if another process has locked it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        locked = False
        with suppress(OSError):  # the file system knows no locks: no leftover is removed
            locked = lock_files.try_lock(descriptor)
        yield locked
    finally:
        os.close(descriptor)


def _create(path: Path, create: Callable[[Path], None]) -> Path:
    ending = path.suffix if len(os.fsencode(path.suffix)) <= MAX_ENDING_BYTES else ''
    end = f'{MARK}{os.urandom(8).hex()}{ending}'
    stem = os.fsencode(path.stem)[: MAX_NAME_BYTES - 1 - len(os.fsencode(end))]
    temporary = path.with_name(f'.{stem.decode(errors="ignore")}{end}')
    create(temporary)
    return temporary


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    No other process may write to ``folder`` meanwhile.

    Raises:
        UserError: The folder cannot be read, or a file cannot be removed.
    """
    try:
        for path in _leftovers(folder, stat.S_ISREG):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f'{error.filename}: cannot be removed ({error.strerror})') from error


def _leftovers(folder: Path, kind: Callable[[int], bool]) -> list[Path]:
    """Return the temporary files, or folders, in a folder; links are neither."""
    with os.scandir(folder) as entries:
        return [
            Path(folder, entry.name)
            for entry in entries
            if TEMPORARY_NAME.fullmatch(entry.name)
            and kind(entry.stat(follow_symlinks=False).st_mode)
        ]
