"""Compiled exports in the cache folder, one file each.

A file is a line of JSON and the engine's own bytes. Its name says what was compiled: network,
shape, engine, precision and a digest of everything else that makes another network of it. The line
has the versions that it was compiled by, the digest of the bytes, and how well they agree with
NNabla. What has other versions, another digest or another length is as good as not there.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import files
from command import LOG, UserError
from models import weights

FOLDER, ENDING = 'engines', '.engine'
MOST_BYTES = 4 << 30  # of all files; those that were not used for longest make room


class Cache:
    """A folder of compiled exports; without one, or where it cannot be written, nothing is kept.

    folder: where they are, None when there is no place for them.
    """

    def __init__(self, folder: Path | None = None):
        self.folder, self._told = folder, False
        if folder is None:
            try:
                self.folder = weights.cache_folder() / FOLDER
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
        try:
            record = dict(json.loads(line))
        except (ValueError, TypeError):
            record = {}
        if record.get('sha256') != hashlib.sha256(payload).hexdigest():
            LOG.warning('%s is damaged and made anew', path)
            return None
        if record.get('versions') != dict(versions):
            return None
        with suppress(OSError):  # a folder that is not ours to write; its time says what is used
            os.utime(path)
        return payload, record

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        path = self._path(name)
        return path is not None and path.is_file()

    def write(self, name: str, versions: Mapping, payload: bytes, record: Mapping):
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
        path = path.with_suffix('.mismatch.onnx')
        try:
            with files.replacing(path) as temporary:
                temporary.write_bytes(onnx)
        except UserError as error:
            return f'it could not be kept ({error})'
        return f'it is kept as {path}'

    def _path(self, name: str) -> Path | None:
        return self.folder and self.folder / (name + ENDING)

    def _make_room(self, newest: Path):
        """Remove the files that were not used for longest until the rest is small enough."""
        with suppress(OSError):  # another process may do the same
            found = [(p.stat(), p) for p in self.folder.glob('*' + ENDING) if p != newest]
            total = newest.stat().st_size
            for stat, path in sorted(found, key=lambda each: each[0].st_mtime, reverse=True):
                total += stat.st_size
                if total > MOST_BYTES:
                    path.unlink()

    def _tell(self, error: UserError):
        if not self._told:
            LOG.warning('compiled networks are not kept for the next start: %s', error)
        self._told = True
