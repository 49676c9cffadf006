"""A disk cache of compiled exports, one entry of :mod:`common.writing.cache_entries` each.

The file name identifies the model: network, shape, backend, precision and a digest of everything
else that affects the result. The entry repeats all of it in full, with the package versions that
compiled the model and the agreement with NNabla. An entry with other facts, or that is not whole,
counts as a cache miss.

The folder also holds rejected exports, for inspection. The total size is limited: the least
recently used files are removed first.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files
from common.errors import UserError
from common.log import LOG
from common.writing import cache_entries
from common.writing.cache_entries import DamagedEntryError

SUBFOLDER, SUFFIX, REJECTED_SUFFIX = 'backends', '.compiled', '.mismatch.onnx'
MAX_BYTES = 4 << 30  # total size of all files in the folder
_DIGITS = 24  # of the digest in a file name


@dataclass(frozen=True)
class CacheKey:
    """Everything on which a compiled export depends.

    Attributes:
        label: Network, shape, backend and precision, for the file name.
        facts: Weights, config and whatever else affects the result, in full.
        versions: The package versions that compile it. An export of other versions is replaced.
    """

    label: str
    facts: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file name without the suffix."""
        facts = json.dumps(self.facts, sort_keys=True, default=str)
        return f'{self.label}-{hashlib.sha256(facts.encode()).hexdigest()[:_DIGITS]}'

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON represents them."""
        fields = {'label': self.label, 'facts': self.facts, 'versions': self.versions}
        return json.loads(json.dumps(fields, default=str))


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

    def read(self, key: CacheKey) -> tuple[bytes, dict[str, Any]] | None:
        """Read an export.

        Args:
            key: Everything on which the export depends.

        Returns:
            The backend's bytes and the facts that were stored with them; None for a missing,
            damaged or outdated file.
        """
        path = self._path(key)
        if path is None:
            return None
        try:
            entry = cache_entries.read(path)
        except DamagedEntryError as error:
            LOG.warning('%s; compiling again', error)
            return None
        if entry is None or entry.facts.get('key') != key.as_json():
            return None
        with suppress(OSError):  # records the last use, unless the folder is read-only
            os.utime(path)
        return entry.payload, entry.facts

    def has(self, key: CacheKey) -> bool:
        """Return whether an export for this key seems to exist, from its facts alone."""
        path = self._path(key)
        facts = None if path is None else cache_entries.read_facts(path)
        return facts is not None and facts.get('key') == key.as_json()

    def write(self, key: CacheKey, payload: bytes, facts: Mapping[str, Any]) -> None:
        """Store an export and remove the least recently used ones beyond the size limit.

        If the folder cannot be written, a warning is logged once.

        Args:
            key: Everything on which the export depends.
            payload: The backend's own bytes.
            facts: Other facts to store with them.
        """
        path = self._path(key)
        if path is None:
            return
        try:
            cache_entries.write(path, {**facts, 'key': key.as_json()}, payload)
        except UserError as error:
            self._warn_once(error)
        else:
            self._evict(path)

    def keep_rejected(self, key: CacheKey, onnx: bytes) -> str:
        """Store a rejected ONNX export for inspection; return a text that says where or why not."""
        path = self._path(key)
        if path is None:
            return 'it could not be kept'
        path = path.with_suffix(REJECTED_SUFFIX)
        try:
            cache_entries.write_bytes(path, onnx)
        except UserError as error:
            return f'it could not be kept ({error})'
        self._evict(path)
        return f'it is kept as {path}'

    def _path(self, key: CacheKey) -> Path | None:
        return self.folder and self.folder / (key.name + SUFFIX)

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


def _last_use(stat: os.stat_result) -> float:
    """Return the time at which a file was last written or, if the file system records it, read.

    The modification time alone does not suffice, because TensorRT does not update it when it reads
    its files.
    """
    return max(stat.st_mtime, stat.st_atime)
