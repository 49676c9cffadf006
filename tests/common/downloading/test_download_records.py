"""Recorded digests: a file that changes, on the server or in the cache, is refused."""

import hashlib
import os
from dataclasses import replace

import pytest

import models
from common.downloading import download
from models import weights
from models.weights import published
from support.download_server import hdf5_bytes

FILE = 'D3Net-S.h5'


def test_records_are_written_atomically(server, monkeypatch):
    rename, renamed = os.replace, []

    def noted(source, target):
        renamed.append(os.path.basename(target))
        rename(source, target)

    monkeypatch.setattr(os, 'replace', noted)
    weights.find(FILE)
    assert renamed == [f'{FILE}.part.json', f'{FILE}.sha256', FILE]


def test_a_changed_file_on_the_server_is_refused(server, tmp_path):
    """The digest of the first download counts until the user deletes its record."""
    path = weights.find(FILE)
    path.unlink()
    assert weights.find(FILE) == path
    path.unlink()
    server.content, server.tag = hdf5_bytes(tmp_path / 'other', 1.0), '"2"'
    record = path.with_name(f'{FILE}.sha256')
    for _ in range(2):
        with pytest.raises(models.ModelError, match='if the change is expected, delete') as caught:
            weights.find(FILE)
        assert str(record) in str(caught.value)
        assert not path.exists()
    record.unlink()
    assert weights.find(FILE).read_bytes() == server.content
    assert weights.find(FILE) == path


@pytest.mark.parametrize('deleted', [FILE, f'{FILE}.sha256'])
def test_a_changed_file_in_the_cache_is_refused(server, tmp_path, deleted):
    """It was damaged or replaced by the user: both remedies of the message work."""
    path = weights.find(FILE)
    hdf5_bytes(path, 1.0)
    changed = path.read_bytes()
    with pytest.raises(models.ModelError, match='has changed since.*delete it') as caught:
        weights.find(FILE)
    assert f'{path} has' in str(caught.value)
    assert f'delete {path}.sha256' in str(caught.value)
    path.with_name(deleted).unlink()
    assert weights.find(FILE).read_bytes() == (server.content if deleted == FILE else changed)
    assert weights.find(FILE) == path


@pytest.mark.parametrize('there', [True, False])
@pytest.mark.parametrize('record', [b'', b'none', b'\xff\xfe', b'0' * 65, b'0' * 63])
def test_a_damaged_record_is_named(server, tmp_path, record, there):
    path = weights.find(FILE)
    path.with_name(f'{FILE}.sha256').write_bytes(record)
    if not there:
        path.unlink()
    with pytest.raises(models.ModelError, match=f'^{path}.sha256: damaged, .*; delete it$'):
        weights.find(FILE)
    assert len(server.ranges) == 1
    path.with_name(f'{FILE}.sha256').unlink()
    assert weights.find(FILE) == path


def test_an_unreadable_record_is_named(server, tmp_path):
    (tmp_path / 'cache' / f'{FILE}.sha256').mkdir(parents=True)
    with pytest.raises(models.ModelError, match=f'{FILE}.sha256: is a folder .*; remove it'):
        weights.find(FILE)


def test_a_cached_file_is_compared_with_the_published_digest(server, content, monkeypatch):
    path = weights.find(FILE)
    for digest in (hashlib.sha256(content).hexdigest(), '00'):
        known = [replace(p, sha256=digest) for p in published.files()]
        monkeypatch.setattr(published, 'files', lambda known=known: known)
        if digest != '00':
            assert weights.find(FILE) == path
    with pytest.raises(models.ModelError, match='is not the published file.*delete it'):
        weights.find(FILE)


@pytest.mark.parametrize('record', [True, False])
def test_a_read_only_cache_with_the_file_is_used(server, tmp_path, record):
    path = weights.find(FILE)
    for suffix in ('.lock', '.sha256')[: 1 if record else 2]:
        path.with_name(FILE + suffix).unlink()
    path.with_name(f'{FILE}.lock').mkdir()  # even root cannot write to it
    path.parent.chmod(0o555)
    before = sorted(path.parent.iterdir())
    assert weights.find(FILE) == path
    assert download.fetch([server.url], path) == path
    assert sorted(path.parent.iterdir()) == before
    path.parent.chmod(0o755)
    path.unlink()
    with pytest.raises(models.ModelError, match=f'{FILE}.lock: is a folder .*NNSEG_CACHE'):
        weights.find(FILE)
