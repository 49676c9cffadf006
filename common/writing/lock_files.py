"""Lock files: let one process at a time write to a place.

with lock_files.waiting(folder / 'lock'):          # until other processes have released it
    ...

The system releases a lock when its process ends, even by SIGKILL; the file stays. Whatever is at
the path of a lock file keeps its content, unless that is the record of an earlier process.
"""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from common.errors import UserError
from common.writing import own_files

RECORD = re.compile(rb'process \d+ on [\w.-]{1,253}')  # what sign() writes
NOT_SUPPORTED = errno.ENOLCK, errno.EOPNOTSUPP  # errors of file systems that know no locks


def open_lock(path: Path) -> BinaryIO:
    """Open a lock file, and create it if it is missing; its folder must exist.

    Raises:
        UserError: The path is a link, a folder, a pipe or a device, or cannot be opened.
    """
    try:
        descriptor = own_files.open_descriptor(path, os.O_RDWR | os.O_CREAT)
    except (OSError, ValueError) as error:  # ValueError: the path contains a null character
        raise _unusable(path, error) from error
    return os.fdopen(descriptor, 'r+b', buffering=0)


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Hold the lock of a file inside the block, and wait for it as long as others hold it.

    Raises:
        UserError: The file cannot be opened or locked.
    """
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise _unusable(path, error) from error
        yield


def try_lock(file: BinaryIO | int) -> bool:
    """Lock a file without waiting, and return whether no other process holds its lock.

    Args:
        file: An open lock file, or the descriptor of a folder.

    Raises:
        OSError: The file cannot be locked; its number is in ``NOT_SUPPORTED`` where the file system
            knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def sign(file: BinaryIO) -> None:
    """Record this process in a lock file that it holds, unless the file has another content.

    The file can be a hard link to something that a user wants to keep.
    """
    content = _content(file)
    if content and not RECORD.fullmatch(content):
        return
    file.truncate(0)
    file.seek(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}'.encode())


def holder(file: BinaryIO) -> str:
    """Return which process has signed a lock file, such as ``process 12 on host``."""
    content = b''
    with suppress(OSError):
        content = _content(file)
    return content.decode() if RECORD.fullmatch(content) else 'another process'


def _content(file: BinaryIO) -> bytes:
    """Return the beginning of a file, longer than any record."""
    file.seek(0)
    return file.read(300)


def _unusable(path: Path, error: Exception) -> UserError:
    reason = getattr(error, 'strerror', None) or error
    return UserError(f'{path}: cannot be written ({reason})')
