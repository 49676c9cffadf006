"""Open files that the project writes for itself: partial downloads, records, caches, locks.

Whatever else is at their paths is refused: a link can lead to a file that must not be written, and
opening a pipe or a device can wait for its other end.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from common.errors import UserError

FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFLNK: 'link', stat.S_IFDIR: 'folder', stat.S_IFIFO: 'pipe'}


def open_descriptor(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file without following a link or waiting, and return its descriptor.

    Args:
        path: The file.
        flags: As for ``os.open``.
        mode: Permissions of a new file, of which the process's umask removes some.

    Raises:
        OSError: The file cannot be opened.
        UserError: The path is a link, a folder, a pipe or a device.
    """
    refuse_odd(path)
    descriptor = os.open(path, flags | FLAGS, mode)
    try:
        _refuse(path, os.fstat(descriptor).st_mode)  # it may have changed meanwhile
    except UserError:
        os.close(descriptor)
        raise
    return descriptor


def open_to_read(path: Path) -> BinaryIO:
    """Open a file for reading, as :func:`open_descriptor` does."""
    return os.fdopen(open_descriptor(path, os.O_RDONLY), 'rb')


def read(path: Path, most: int) -> bytes:
    """Return the first bytes of a file.

    Args:
        path: The file.
        most: Maximum number of bytes.

    Raises:
        OSError: The file is missing or cannot be read.
        UserError: The path is a link, a folder, a pipe or a device.
    """
    with open_to_read(path) as file:
        return file.read(most)


def refuse_odd(path: Path) -> None:
    """Check that a path is a regular file, or that nothing is there.

    Raises:
        OSError: The path cannot be examined.
        UserError: The path is a link, a folder, a pipe or a device.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    _refuse(path, mode)


def _refuse(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), 'device')
        raise UserError(f'{path}: is a {kind} and must be a file; remove it')
