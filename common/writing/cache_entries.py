"""Files of the cache folder: for their owner alone, and covered by a digest.

    write(path, {'versions': versions}, payload)
    entry = read(path)       # the facts and the payload, or None if there is no such file

An entry consists of a line with a digest, a line of JSON with facts, and a payload. The digest
covers the name of the file, the facts and the payload, so that neither a changed byte nor a renamed
file goes unnoticed. It is no signature: whoever can write into the folder can change results.
"""

import errno
import hashlib
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from common import files
from common.errors import UserError
from common.reading import json_text
from common.reading.text_files import TextFileError
from common.writing import own_files

OWNER_ONLY_FILE, OWNER_ONLY_FOLDER = 0o600, 0o700
MAX_BYTES = 4 << 30  # of an entry
_MAGIC = b'nnseg cache entry 1'
_MAX_FACTS_BYTES = 1 << 24
_HEAD_BYTES = len(_MAGIC) + 1 + 64 + 1  # with the digest and the ends of both


class DamagedEntryError(UserError):
    """A file of the cache folder is not a whole entry of its name."""


@dataclass(frozen=True)
class Entry:
    """The content of an entry.

    Attributes:
        facts: Facts about the payload.
        payload: The bytes that are kept.
    """

    facts: dict[str, Any]
    payload: bytes


def read(path: Path) -> Entry | None:
    """Return an entry, or None if there is no file.

    Raises:
        DamagedEntryError: The file is not a whole entry of this name, or not a regular file.
    """
    try:
        with _opened(path) as file:
            head, line = file.read(_HEAD_BYTES), file.readline(_MAX_FACTS_BYTES)
            known = head.startswith(_MAGIC) and line.endswith(b'\n')
            payload = file.read() if known else b''
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedEntryError(f'{path} cannot be read ({error.strerror or error})') from error
    except UserError as error:  # write() replaces it
        raise DamagedEntryError(f'{path} is not a file of the cache') from error
    except MemoryError as error:
        raise DamagedEntryError(f'{path} does not fit into memory') from error
    if not known or head != _head(path, line, payload):
        raise DamagedEntryError(f'{path} is damaged')
    return Entry(_parsed(line, path), payload)


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return the facts of an entry without a check of the digest; None if they cannot be read."""
    try:
        with _opened(path) as file:
            file.seek(_HEAD_BYTES)
            return _parsed(file.readline(_MAX_FACTS_BYTES), path)
    except (OSError, UserError):
        return None


def write(path: Path, facts: dict[str, Any], payload: bytes = b'') -> None:
    """Write an entry, in place of whatever has its name.

    Raises:
        UserError: The file cannot be written.
    """
    line = json.dumps(facts).encode() + b'\n'
    write_bytes(path, _head(path, line, payload), line, payload)


def write_bytes(path: Path, *parts: bytes) -> None:
    """Write a file into the cache folder, for its owner alone.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        make_folder(path.parent)
        if not stat.S_ISREG(path.lstat().st_mode):
            path.unlink()  # a link or a pipe, whose other end is not part of the cache
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror or error})') from error
    with files.replacing(path, mode=OWNER_ONLY_FILE) as new, open(new, 'wb') as file:
        file.writelines(parts)


def make_folder(folder: Path) -> None:
    """Create a folder of the cache that only its owner can enter, or restrict an existing one.

    Raises:
        OSError: The folder cannot be created.
    """
    create_folder(folder)
    _restrict(folder, OWNER_ONLY_FOLDER)


def create_folder(folder: Path) -> None:
    """Create a folder, and those above it, for its owner alone; leave an existing one as it is.

    Raises:
        OSError: The folder cannot be created.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another process creates the same cache
            each.mkdir(OWNER_ONLY_FOLDER)


def restrict_files(folder: Path) -> None:
    """Restrict what a library has written into a folder of the cache to its owner."""
    with suppress(OSError):
        for path in folder.iterdir():
            if stat.S_ISREG(path.lstat().st_mode):
                _restrict(path, OWNER_ONLY_FILE)


def _restrict(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o077:
        with suppress(OSError):  # of another user, or on a file system without modes
            path.chmod(mode)


def _opened(path: Path) -> BinaryIO:
    """Open a file for reading; raise ``OSError`` for a huge one, ``UserError`` for others."""
    file = own_files.open_to_read(path)
    if os.fstat(file.fileno()).st_size > MAX_BYTES:
        file.close()
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return file


def _head(path: Path, line: bytes, payload: bytes) -> bytes:
    """Return the first line of an entry with this name, line of facts and payload."""
    digest = hashlib.sha256(os.fsencode(path.name) + b'\n')
    digest.update(line)
    digest.update(payload)
    return b'%s %s\n' % (_MAGIC, digest.hexdigest().encode())


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        return json_text.parse(line, path, dict, unique_keys=False, constants=True)
    except TextFileError as error:
        raise DamagedEntryError(f'{path} is damaged') from error
