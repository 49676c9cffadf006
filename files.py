"""Files: what a path is, files that are whole at any moment, digests."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from command import UserError


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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well.

    Raises ``UserError`` when the file cannot be written; what was there before stays then.
    """
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror or error})') from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(path: Path):
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
