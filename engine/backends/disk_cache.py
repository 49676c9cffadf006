"""A disk cache of compiled exports, one file each.

A file holds one line of JSON, then the backend's own bytes. The file name identifies the model:
network, shape, backend, precision and a digest of everything else that affects the result. The line
records the package versions that compiled the model, the digest of the bytes, and the agreement
with NNabla. A file with other versions or with bytes of another digest counts as a cache miss.

The folder also holds rejected exports, for inspection, and the engines that TensorRT caches. The
total size is limited: the least recently used files are removed first.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from common import files
from common.errors import UserError
from common.log import LOG

SUBFOLDER, SUFFIX, REJECTED_SUFFIX = 'backends', '.compiled', '.mismatch.onnx'
MAX_BYTES = 4 << 30  # total size of all files in the folder
_WRITE_LOCK = Lock()  # all threads of a process write a file under the same temporary name


class DiskCache:
    """A folder of compiled exports; without a writable folder, nothing is stored.

    Attributes:
        folder: The cache folder, which holds nothing else; None if the user has no cache folder.
    """

    def __init__(self, folder: Path | None = None):
        self.folder, self._warned = folder, False
        if folder is None:
            try:
                self.folder = files.cache_folder() / SUBFOLDER
            except UserError as error:
                self._warn_once(error)

    def read(self, name: str, versions: Mapping) -> tuple[bytes, dict] | None:
        """Read an export.

        Args:
            name: The export's file name without the suffix.
            versions: The package versions that must have compiled it.

        Returns:
            The backend's bytes and the parsed line; None for a missing, damaged or outdated file.
        """
        path = self._path(name)
        if path is None:
            return None
        try:
            with open(path, 'rb') as file:
                line, payload = file.readline(), file.read()
        except OSError:
            return None
        record = _record(line)
        if record.get('sha256') != hashlib.sha256(payload).hexdigest():
            LOG.warning('%s is damaged; compiling again', path)
            return None
        if record.get('versions') != dict(versions):
            return None
        with suppress(OSError):  # records the last use, unless the folder is read-only
            os.utime(path)
        return payload, record

    def has(self, name: str, versions: Mapping) -> bool:
        """Return whether an export of this name and these versions exists, from its first line."""
        path = self._path(name)
        if path is None:
            return False
        try:
            with open(path, 'rb') as file:
                return _record(file.readline()).get('versions') == dict(versions)
        except OSError:
            return False

    def write(self, name: str, versions: Mapping, payload: bytes, record: Mapping) -> None:
        """Store an export and remove the least recently used ones beyond the size limit.

        If the folder cannot be written, a warning is logged once.

        Args:
            name: The export's file name without the suffix.
            versions: The package versions that have compiled it.
            payload: The backend's own bytes.
            record: Other facts to store in the first line.
        """
        path = self._path(name)
        if path is None:
            return
        digest = hashlib.sha256(payload).hexdigest()
        line = json.dumps({**record, 'versions': dict(versions), 'sha256': digest})
        try:
            with (
                _WRITE_LOCK,
                files.replacing(path) as temporary,
                open(temporary, 'wb') as file,
            ):
                file.write(line.encode() + b'\n')
                file.write(payload)
        except UserError as error:
            self._warn_once(error)
        else:
            self._evict(path)

    def keep_rejected(self, name: str, onnx: bytes) -> str:
        """Store a rejected ONNX export for inspection; return a text that says where or why not."""
        path = self._path(name)
        if path is None:
            return 'it could not be kept'
        path = path.with_suffix(REJECTED_SUFFIX)
        try:
            with _WRITE_LOCK, files.replacing(path) as temporary:
                temporary.write_bytes(onnx)
        except UserError as error:
            return f'it could not be kept ({error})'
        self._evict(path)
        return f'it is kept as {path}'

    def _path(self, name: str) -> Path | None:
        return self.folder and self.folder / (name + SUFFIX)

    def _evict(self, newest: Path) -> None:
        """Remove the least recently used files until the total size is within the limit."""
        with suppress(OSError):  # another process may evict files at the same time
            found = [(p.stat(), p) for p in newest.parent.iterdir() if p.is_file() and p != newest]
            total = newest.stat().st_size
            for stat, path in sorted(found, key=lambda each: _last_use(each[0]), reverse=True):
                total += stat.st_size
                if total > MAX_BYTES:
                    path.unlink()

    def _warn_once(self, error: UserError) -> None:
        if not self._warned:
            LOG.warning('compiled networks are not cached for the next start: %s', error)
        self._warned = True


def _record(line: bytes) -> dict:
    """Parse the first line of a file; a damaged line gives an empty record."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {}


def _last_use(stat: os.stat_result) -> float:
    """Return the time at which a file was last written or, if the file system records it, read.

    The modification time alone does not suffice, because TensorRT does not update it when it reads
    its files.
    """
    return max(stat.st_mtime, stat.st_atime)
