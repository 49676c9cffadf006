"""File helpers: kinds of paths, atomic writes, digests, the cache folder."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from common.errors import ClosedPipeError, UserError
from common.log import LOG
from common.terminal.short_repr import short_text
from common.writing import write_targets

CACHE_VARIABLE = 'NNSEG_CACHE'  # environment variable: the folder for downloads and caches
LARGE_BYTES = 100_000_000  # reading or writing so much can take seconds
_LIST_OF_NUMBERS = re.compile(r'\[\n\s+([\d.e+-]+(?:,\n\s+[\d.e+-]+)*)\n\s+\]')
OPEN_FILES = {'/dev/stdout': '/dev/fd/1', '/dev/stderr': '/dev/fd/2'}


def kind_of(path: Path) -> str | None:
    """Return ``'file'``, ``'folder'``, or None for a missing path, a device or a pipe.

    ``Path.is_file`` and similar methods raise ``OSError`` where a name is too long or a folder is
    not accessible; this function raises ``UserError``.

    Raises:
        UserError: The path cannot be examined.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: the path contains a null character
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{short_text(str(path), 1000)}: cannot be read ({reason})') from error
    return 'file' if stat.S_ISREG(mode) else 'folder' if stat.S_ISDIR(mode) else None


def log_if_large(activity: str, path: Path) -> None:
    """Log what is done to a file before it takes seconds; raise ``OSError`` for a missing file."""
    size = path.stat().st_size
    if size >= LARGE_BYTES:
        LOG.info('%s %s, %d MB', activity, path, size / 1e6)


def expanded(path: str | os.PathLike[str], advice: str) -> Path:
    """Return a path with its ``~`` replaced by the home folder.

    Args:
        path: A path, which may begin with ``~``.
        advice: The remedy, for the error message.

    Raises:
        UserError: The home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f'{path}: no home folder is known for its ~; {advice}') from error


def cache_folder() -> Path:
    """Return the folder for downloads and caches.

    This is ``$NNSEG_CACHE``, else ``nnseg`` in the user's cache folder.

    Raises:
        UserError: The user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    folder = own or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'nnseg'
    return expanded(folder, f'set {CACHE_VARIABLE} to the full path of a folder for downloads')


def listing(folder: Path) -> list[Path]:
    """Return the entries of a folder, in no particular order.

    Raises:
        UserError: The folder cannot be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f'{folder}: cannot be read ({error.strerror})') from error


def walk(
    folder: Path, leave_out: Path | None = None, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder and its sub-folders, as ``os.walk`` does, through links as well.

    Each real folder is visited once, so that links cannot form a cycle. The caller can remove
    sub-folders from the list of them.

    Args:
        folder: The folder.
        leave_out: A folder that is not visited.
        onerror: Called with the error for a folder that cannot be read; by default it is raised.

    Yields:
        A folder, the names of its sub-folders, and the names of its files.

    Raises:
        UserError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f'{error.filename}: cannot be read ({error.strerror})') from error

    seen = {os.path.realpath(leave_out)} if leave_out is not None else set()
    seen.discard(os.path.realpath(folder))
    for place, folders, names in os.walk(folder, onerror=onerror or refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield place, folders, names


@contextmanager
def replacing(path: Path, durable: bool = False, mode: int = 0o666) -> Iterator[Path]:
    """Yield a new, empty file beside ``path`` and rename it to ``path`` at the end of the block.

    Args:
        path: The file to write. It keeps its old content if the block raises. If it is a link, it
            stays one: the file to which it leads is written.
        durable: Flush the file to the disk before the rename, so that it survives a crash of the
            machine. This waits for the disk: use it for results that cannot be computed again, not
            for thousands of pictures. Without it, a crash soon afterwards can leave an empty file;
            a killed process never does.
        mode: Permissions of the new file, of which the process's umask removes some.

    A device or a pipe, such as ``/dev/stdout``, is not replaced: it receives the content.

    Raises:
        UserError: The file cannot be written.
    """
    target = write_targets.target_of(path)
    if write_targets.is_stream(target):
        with _sending(path, target) as content:
            yield content
        return
    temporary = None
    try:
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target is path:  # no folder is made where a link leads
            path.parent.mkdir(parents=True, exist_ok=True)
        temporary = write_targets.create_beside(target, mode)
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, target)
        if durable:
            _flush(target.parent)  # the folder holds the new name
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def _sending(path: Path, target: Path) -> Iterator[Path]:
    """Yield an empty temporary file, and send its content to ``target`` at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, path.name)
        temporary.touch()
        yield temporary
        try:
            with open(temporary, 'rb') as source, _open_stream(target) as stream:
                shutil.copyfileobj(source, stream)
        except BrokenPipeError as error:
            raise ClosedPipeError(f'{path}: its reader has exited') from error
        except OSError as error:
            raise _unwritable(path, error) from error


def _open_stream(path: Path) -> BinaryIO:
    """Open a device or a pipe; one of this process's descriptors keeps its place in the file."""
    name = os.path.abspath(path)
    found = re.fullmatch(r'/(?:dev|proc/self)/fd/(\d+)', OPEN_FILES.get(name, name))
    if found is None:
        return open(path, 'ab')
    sys.stdout.flush()
    return os.fdopen(os.dup(int(found[1])), 'wb')


def write_json(path: Path, document: object) -> None:
    """Write a document as JSON, in place of an existing file.

    A list of numbers, such as a row of a matrix, is one line. All characters but those of printable
    ASCII are escapes, as the document can go to a terminal.

    Raises:
        UserError: The file cannot be written.
    """
    with replacing(path) as temporary:
        text = json.dumps(document, indent=2).replace('\x7f', '\\u007f')
        # Texts in JSON hold no line breaks, so only lists match.
        text = _LIST_OF_NUMBERS.sub(lambda found: f'[{" ".join(found[1].split())}]', text)
        temporary.write_text(f'{text}\n', encoding='utf-8')


def _flush(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Check before the work starts that a file can be written, and create its folder.

    Raises:
        UserError: The file cannot be written.
    """
    if kind_of(path) == 'folder':
        raise UserError(f'{path}: is a folder; name a file')
    target = write_targets.target_of(path)
    if write_targets.is_stream(target):
        return
    try:
        if target is path:
            path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f'{path}: cannot be written ({error.strerror or error})')


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
