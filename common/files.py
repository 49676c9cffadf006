"""Files: what a path is, files that are whole at any moment, digests, the cache folder."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import UserError

CACHE_VARIABLE = 'NNSEG_CACHE'  # environment variable: the folder for downloads and caches
LEFTOVER = re.compile(r'\..+\.\d+\.\w+')  # the temporary names of replacing: .name.process.ending


def kind_of(path: Path) -> str | None:
    """``'file'``, ``'folder'``, or None for what is not there or neither (a device, a pipe).

    ``Path.is_file`` and its like raise where a name is too long or a folder is closed to the user;
    this raises ``UserError``.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path}: cannot be read ({reason})') from error
    return 'file' if stat.S_ISREG(mode) else 'folder' if stat.S_ISDIR(mode) else None


def expanded(path: str | os.PathLike[str], advice: str) -> Path:
    """Return a path with the home folder that its ``~`` stands for.

    Raises:
        UserError: No home folder is known; ``advice`` says what to do.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f'{path}: no home folder is known for its ~; {advice}') from error


def cache_folder() -> Path:
    """Return the folder for downloads and caches: ``$NNSEG_CACHE``, else ``nnseg`` in the user's
    cache folder.

    Raises:
        UserError: The user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    folder = own or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'nnseg'
    return expanded(folder, f'name a folder for downloads in full with {CACHE_VARIABLE}')


def listing(folder: Path) -> list[Path]:
    """What is in a folder, in no order; ``UserError`` when that cannot be read."""
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f'{folder}: cannot be read ({error.strerror})') from error


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well.

    durable: it survives a crash of the machine from then on. That waits for the disk, which is for
        what cannot be made again, not for thousands of pictures. Without it a crash soon after may
        leave an empty file. A killed process never does.

    Raises ``UserError`` when the file cannot be written; what was there before stays then.
    """
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable:
            _flush(path.parent)  # where the new name is
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror or error})') from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of :func:`replacing` that killed processes have left; nobody may
    be writing in ``folder``. Raises ``UserError`` when one cannot be removed.
    """
    for path in listing(folder):
        if LEFTOVER.fullmatch(path.name) and kind_of(path) == 'file':
            try:
                path.unlink()
            except OSError as error:
                raise UserError(f'{path}: cannot be removed ({error.strerror})') from error


def _flush(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Raise ``UserError`` now, not after an hour's work, when ``path`` cannot be written."""
    if kind_of(path) == 'folder':
        raise UserError(f'{path}: is a folder; name a file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror})') from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
