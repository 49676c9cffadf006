"""Compiled exports in the cache folder, one file each.

A file is a line of JSON and the backend's own bytes. Its name says what was compiled: network,
shape, backend, precision and a digest of everything else that makes another network of it. The line
has the versions that it was compiled by, the digest of the bytes, and how well they agree with
NNabla. What has other versions, another digest or another length is as good as not there.

Beside them are exports that compute something else, for inspection, and what TensorRT keeps. All
together have a limit: what was not used for longest makes room.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from common import files
from common.errors import UserError
from common.log import LOG

SUBFOLDER, SUFFIX, REJECTED_SUFFIX = 'backends', '.compiled', '.mismatch.onnx'
MAX_BYTES = 4 << 30  # of all files in the folder


class DiskCache:
    """A folder of compiled exports; without one, or where it cannot be written, nothing is kept.

    folder: where they are, and nothing else; None when there is no place for them.
    """

    def __init__(self, folder: Path | None = None):
        self.folder, self._told = folder, False
        if folder is None:
            try:
                self.folder = files.cache_folder() / SUBFOLDER
            except UserError as error:
                self._tell(error)

    def read(self, name: str, versions: Mapping) -> tuple[bytes, dict] | None:
        """The bytes and the record of an export; None when it is not there as it should be."""
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
            LOG.warning('%s is damaged and made anew', path)
            return None
        if record.get('versions') != dict(versions):
            return None
        with suppress(OSError):  # a folder that is not ours to write; its time says what is used
            os.utime(path)
        return payload, record

    def has(self, name: str, versions: Mapping) -> bool:
        """Whether there is an export of that name and these versions, if its bytes are whole."""
        path = self._path(name)
        if path is None:
            return False
        try:
            with open(path, 'rb') as file:
                return _record(file.readline()).get('versions') == dict(versions)
        except OSError:
            return False

    def write(self, name: str, versions: Mapping, payload: bytes, record: Mapping) -> None:
        """Keep an export; where that is impossible, it is said once."""
        path = self._path(name)
        if path is None:
            return
        digest = hashlib.sha256(payload).hexdigest()
        line = json.dumps({**record, 'versions': dict(versions), 'sha256': digest})
        try:
            with files.replacing(path) as temporary, open(temporary, 'wb') as file:
                file.write(line.encode() + b'\n')
                file.write(payload)
        except UserError as error:
            self._tell(error)
        else:
            self._make_room(path)

    def keep_rejected(self, name: str, onnx: bytes) -> str:
        """Where an export that computes something else can be inspected, or why it cannot."""
        path = self._path(name)
        if path is None:
            return 'it could not be kept'
        path = path.with_suffix(REJECTED_SUFFIX)
        try:
            with files.replacing(path) as temporary:
                temporary.write_bytes(onnx)
        except UserError as error:
            return f'it could not be kept ({error})'
        self._make_room(path)
        return f'it is kept as {path}'

    def _path(self, name: str) -> Path | None:
        return self.folder and self.folder / (name + SUFFIX)

    def _make_room(self, newest: Path) -> None:
        """Remove the files that were not used for longest until the rest is small enough."""
        with suppress(OSError):  # another process may do the same
            found = [(p.stat(), p) for p in newest.parent.iterdir() if p.is_file() and p != newest]
            total = newest.stat().st_size
            for stat, path in sorted(found, key=lambda each: _last_use(each[0]), reverse=True):
                total += stat.st_size
                if total > MAX_BYTES:
                    path.unlink()

    def _tell(self, error: UserError) -> None:
        if not self._told:
            LOG.warning('compiled networks are not kept for the next start: %s', error)
        self._told = True


def _record(line: bytes) -> dict:
    """What the first line of a file says; nothing when it is damaged."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {}


def _last_use(stat: os.stat_result) -> float:
    """When a file was last written or, as far as the file system notes it, read: TensorRT reads its
    own without touching them.
    """
    return max(stat.st_mtime, stat.st_atime)
