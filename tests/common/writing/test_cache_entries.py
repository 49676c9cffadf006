"""Entries of the cache folder: whole or refused, and for their owner alone."""

import resource
import stat

import pytest

from common.writing import cache_entries
from common.writing.cache_entries import DamagedEntryError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_huge_file_that_is_no_entry_takes_no_memory(tmp_path):
    """A file of 3 GB without the first line, and one with it: neither fits."""
    path = tmp_path / 'entry'
    cache_entries.write(path, {'a': 1}, b'payload')
    assert cache_entries.read(path) == cache_entries.Entry({'a': 1}, b'payload')
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm', encoding='ascii') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), limits[1]))
    try:
        for content, problem in ((path.read_bytes(), 'fit into memory'), (b'', 'is damaged')):
            with open(path, 'wb') as file:
                file.write(content)
                file.truncate(3 << 30)
            with pytest.raises(DamagedEntryError, match=f'entry .*{problem}'):
                cache_entries.read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_only_the_owner_can_enter_new_folders_and_read_files(tmp_path):
    shared = tmp_path / 'shared'
    shared.mkdir(0o755)
    cache_entries.create_folder(shared)
    cache_entries.create_folder(shared / 'a' / 'b')
    assert [mode(shared / name) for name in ('', 'a', 'a/b')] == [0o755, 0o700, 0o700]
    (shared / 'file').touch(0o666)
    (shared / 'file').chmod(0o644)
    (shared / 'link').symlink_to(tmp_path / 'nothing')
    cache_entries.restrict_files(shared)
    assert mode(shared / 'file') == 0o600
