"""Read text files that others wrote: regular files of a limited size, in UTF-8 or as marked.

Every fault of a file is one kind of error, a line that names the file.
"""

import codecs
import os
import stat
from pathlib import Path

from common.errors import UserError
from common.terminal.short_repr import short_text

MAX_BYTES = 32 << 20  # of a text file, where its reader sets no other limit


class TextFileError(UserError):
    """A file is missing, unreadable, too large or not text.

    Args:
        source: The file, or a place in it, such as ``train.lst, line 3``.
        problem: What is wrong with it, to follow ``source``.

    Attributes:
        problem: What is wrong with it.
    """

    def __init__(self, source: Path | str, problem: str):
        super().__init__(f'{source}: {problem}')
        self.problem = problem


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file; a pipe or a device could block or never end.

    Args:
        path: The file.
        max_bytes: The largest size to accept.

    Raises:
        TextFileError: There is no such regular file, or it is larger or unreadable.
    """
    try:
        status = os.stat(path)
        _refuse_unbounded(path, status, max_bytes)
        with open(path, 'rb') as file:
            content = file.read(status.st_size + 1)  # a larger number would be allocated at once
            while status.st_size < len(content) <= max_bytes and (more := file.read(1 << 20)):
                content += more  # it has grown, or the system does not know its size
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, 'strerror', None) or error
        raise TextFileError(short_text(str(path), 1000), f'cannot be read ({reason})') from error
    except MemoryError as error:
        raise TextFileError(path, 'cannot be read: it does not fit into memory') from error
    if len(content) > max_bytes:
        raise TextFileError(path, f'cannot be read: has more than {max_bytes} bytes')
    return content


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Return the content of a text file: UTF-8, or what the byte order mark at its start says.

    Args:
        path: The file.
        max_bytes: The largest size to accept.

    Raises:
        TextFileError: As for :func:`read_bytes`, or the file is not text in this encoding.
    """
    return decode(read_bytes(path, max_bytes), path)


def decode(content: bytes, source: Path | str) -> str:
    """Return the text of some bytes: UTF-8, or what the byte order mark at their start says.

    Editors and shells of Windows write such marks, also for UTF-16.

    Args:
        content: The bytes.
        source: Where they are from, for the message.

    Raises:
        TextFileError: The bytes are not text in this encoding.
    """
    try:
        return _decoded(content, source)
    except MemoryError as error:
        raise TextFileError(source, 'cannot be read: it does not fit into memory') from error


def _decoded(content: bytes, source: Path | str) -> str:
    """Return the text of some bytes, as :func:`decode` does; it can raise ``MemoryError``."""
    if not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode('utf-8-sig')
        except UnicodeDecodeError as error:
            line = content.count(b'\n', 0, error.start) + 1
            raise TextFileError(
                source, f'not UTF-8 text (line {line}: {error.reason}); save it as UTF-8'
            ) from error
    try:
        text = content.decode('utf-16')
        if any(map(str.isascii, text)):  # almost any bytes are UTF-16
            return text
        reason = 'no line of it has a Latin letter'
    except UnicodeDecodeError as error:
        reason = error.reason
    raise TextFileError(
        source, f'not UTF-16 text, as its first two bytes say ({reason}); save it as UTF-8'
    )


def _refuse_unbounded(path: Path, status: os.stat_result, max_bytes: int) -> None:
    """Raise ``TextFileError`` unless a file is regular and not too large."""
    if stat.S_ISDIR(status.st_mode):
        raise TextFileError(path, 'cannot be read: is a folder, not a file')
    if not stat.S_ISREG(status.st_mode):
        raise TextFileError(path, 'cannot be read: is a pipe or a device, not a regular file')
    if status.st_size > max_bytes:
        raise TextFileError(
            path, f'cannot be read: has {status.st_size} bytes, more than {max_bytes}'
        )
