"""Downloads, from a local server that also stalls, truncates, changes its mind and has nothing."""

import hashlib
import os
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

import models
from common import download, files
from models import weights
from models.weights import lookup, published
from support.download_server import DownloadServer

FILE = 'D3Net-S.h5'


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """The bytes of a real HDF5 file of 1.2 MB."""
    path = tmp_path_factory.mktemp('content') / 'a.h5'
    with h5py.File(path, 'w') as file:
        file['a'] = np.random.RandomState(0).randn(150_000)
    return path.read_bytes()


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    server = DownloadServer(content)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / 'cache'))
    monkeypatch.setattr(lookup, 'PROJECT', tmp_path)
    monkeypatch.chdir(tmp_path)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def test_a_missing_published_file_is_downloaded_once(server, tmp_path):
    path = weights.find('D3Net_S.h5')
    assert path == tmp_path / 'cache' / FILE
    assert path.read_bytes() == server.content
    assert weights.find(FILE) == path
    assert len(server.ranges) == 1
    assert not list(path.parent.glob('*.part*'))


def test_cut_connections_are_resumed_where_they_ended(server):
    server.cut_after = [100_000, 200_000]
    path = weights.find(FILE)
    assert path.read_bytes() == server.content
    assert server.ranges == [None, 'bytes=100000-', 'bytes=300000-']


def test_a_later_call_resumes_what_an_earlier_one_left(server, tmp_path):
    server.cut_after = [50_000, 0]
    with pytest.raises(models.ModelError, match=rf'{FILE} failed: closed .* after 50000 of'):
        weights.find(FILE)
    assert (tmp_path / 'cache' / f'{FILE}.part').stat().st_size == 50_000
    assert weights.find(FILE).read_bytes() == server.content
    assert server.ranges[-1] == 'bytes=50000-'


def test_a_part_of_another_version_is_not_continued(server, content):
    server.cut_after = [50_000, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    server.content, server.tag = content[::-1], '"2"'
    with pytest.raises(models.ModelError, match='not an HDF5 file'):
        weights.find(FILE)
    server.content, server.tag = content, '"3"'
    assert weights.find(FILE).read_bytes() == content


@pytest.mark.parametrize('tag', [None, 'W/"weak"'])
def test_without_a_strong_tag_the_download_starts_again(server, tag):
    server.tag, server.cut_after = tag, [100_000]
    assert weights.find(FILE).read_bytes() == server.content
    assert server.ranges == [None, None]


def test_a_server_that_cannot_resume(server):
    server.resumable, server.cut_after = False, [100_000]
    assert weights.find(FILE).read_bytes() == server.content


@pytest.mark.parametrize('tells_length', [True, False])
def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path, tells_length):
    server.tells_length = tells_length
    server.cut_after = [len(server.content) - 1, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    with open(tmp_path / 'cache' / f'{FILE}.part', 'ab') as part:
        part.write(b'12345')
    assert weights.find(FILE).read_bytes() == server.content


def test_a_stalled_server_is_given_up(server, tmp_path):
    server.stall_after = 0
    started = time.monotonic()
    with pytest.raises(download.DownloadError, match='sent nothing for 0.5 s'):
        download.fetch([server.url + FILE], tmp_path / 'a', stall_seconds=0.5)
    assert time.monotonic() - started < 10


def test_a_missing_file_gives_one_line_with_all_that_helps(server, tmp_path):
    server.missing = True
    with pytest.raises(models.ModelError) as caught:
        weights.find(FILE)
    message = str(caught.value)
    assert '\n' not in message
    assert f'{server.url}{FILE} answers 404' in message
    assert f'put it at {tmp_path}/cache/{FILE}' in message
    assert '-cfg configs/D3Net_T_camvid.yaml needs no download' in message


def test_no_network_gives_one_line_with_the_address(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/x')
    with pytest.raises(models.ModelError, match=f'http://127.0.0.1:9/x/{FILE} failed: .*refused'):
        weights.find(FILE)


def test_an_address_that_is_none(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'somewhere')
    with pytest.raises(models.ModelError, match='is no address'):
        weights.find(FILE)


def test_the_option_goes_before_the_environment(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/')
    assert weights.find(FILE, mirror=server.url).read_bytes() == server.content


def test_the_next_mirror_is_tried(server, tmp_path):
    urls = ['http://127.0.0.1:9/a', server.url + 'a']
    assert download.fetch(urls, tmp_path / 'a').read_bytes() == server.content


def test_an_error_page_is_not_taken_for_weights(server, tmp_path):
    server.content = b'<html>Please log in</html>'
    with pytest.raises(models.ModelError, match='not an HDF5 file'):
        weights.find(FILE)
    assert not (tmp_path / 'cache' / FILE).exists()


def test_a_known_digest_and_size_are_verified(server, content, tmp_path):
    digest = hashlib.sha256(content).hexdigest()
    url = [server.url + 'a']
    with pytest.raises(download.DownloadError, match=f'SHA-256 {digest} instead of 00'):
        download.fetch(url, tmp_path / 'a', sha256='00')
    with pytest.raises(download.DownloadError, match=f'{len(content)} bytes instead of 7'):
        download.fetch(url, tmp_path / 'a', size=7)
    assert not (tmp_path / 'a').exists()
    download.fetch(url, tmp_path / 'a', sha256=digest, size=len(content))


@pytest.mark.parametrize('known', ['total', 'size'])
def test_a_complete_part_is_verified_not_downloaded_again(server, tmp_path, known):
    """Ctrl-C while a download is verified."""

    def interrupted(path):
        raise KeyboardInterrupt

    server.tells_length = known == 'total'
    length = len(server.content)
    size = {} if server.tells_length else {'size': length}
    with pytest.raises(KeyboardInterrupt):
        download.fetch([server.url], tmp_path / 'a', check=interrupted, **size)
    checked = []
    download.fetch([server.url], tmp_path / 'a', check=checked.append, **size)
    assert len(checked) == 1
    assert (tmp_path / 'a').read_bytes() == server.content
    assert server.ranges == [None, f'bytes={length}-']


def test_a_complete_part_that_is_wrong_is_thrown_away(server, tmp_path):
    def interrupted(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch([server.url], tmp_path / 'a', check=interrupted)
    part = tmp_path / 'a.part'
    part.write_bytes(bytes(len(server.content)))
    with pytest.raises(download.DownloadError, match='with SHA-256 .* instead of'):
        download.fetch([server.url], tmp_path / 'a', sha256='00')
    assert not part.exists()


@pytest.mark.parametrize(
    'note', [b'', b'{"url": "http', b'\xff\xfe', b'[]', b'{}', b'{"url": "URL", "tag": "a\\nb: c"}']
)
def test_a_damaged_note_of_the_version_starts_again(server, tmp_path, note):
    server.cut_after = [50_000, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    url = (server.url + FILE).encode()
    (tmp_path / 'cache' / f'{FILE}.part.json').write_bytes(note.replace(b'URL', url))
    assert weights.find(FILE).read_bytes() == server.content
    assert server.ranges == [None, 'bytes=50000-', None]


def test_bookkeeping_is_whole_at_any_moment(server, monkeypatch):
    rename, renamed = os.replace, []

    def noted(source, target):
        renamed.append(os.path.basename(target))
        rename(source, target)

    monkeypatch.setattr(os, 'replace', noted)
    weights.find(FILE)
    assert renamed == [f'{FILE}.part.json', f'{FILE}.sha256', FILE]


def hdf5_of(path, value):
    """The bytes of another HDF5 file."""
    with h5py.File(path, 'w') as file:
        file['a'] = value
    return path.read_bytes()


def test_another_file_under_the_same_address_is_refused(server, tmp_path):
    """The digest of the first download holds, until the user deletes it."""
    path = weights.find(FILE)
    path.unlink()
    assert weights.find(FILE) == path
    path.unlink()
    server.content, server.tag = hdf5_of(tmp_path / 'other', 1.0), '"2"'
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
def test_a_cached_file_that_has_changed_is_refused(server, tmp_path, deleted):
    """By damage, or because the user has put it there: either way out leads out."""
    path = weights.find(FILE)
    hdf5_of(path, 1.0)
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


def test_a_record_that_cannot_be_read(server, tmp_path):
    (tmp_path / 'cache' / f'{FILE}.sha256').mkdir(parents=True)
    with pytest.raises(models.ModelError, match=f'{FILE}.sha256: cannot be read'):
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
def test_a_read_only_cache_that_has_the_file(server, tmp_path, record):
    path = weights.find(FILE)
    for suffix in ('.lock', '.sha256')[: 1 if record else 2]:
        path.with_name(FILE + suffix).unlink()
    path.with_name(f'{FILE}.lock').mkdir()  # what not even root can write to
    path.parent.chmod(0o555)
    before = sorted(path.parent.iterdir())
    assert weights.find(FILE) == path
    assert download.fetch([server.url], path) == path
    assert sorted(path.parent.iterdir()) == before
    path.parent.chmod(0o755)
    path.unlink()
    with pytest.raises(models.ModelError, match=f'{FILE}: cannot be written.*NNSEG_CACHE'):
        weights.find(FILE)


def test_two_processes_at_once_download_once(server):
    found = []
    threads = [threading.Thread(target=lambda: found.append(weights.find(FILE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(server.ranges) == 1


def test_a_cache_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / 'file' / 'cache'))
    with pytest.raises(models.ModelError, match='S.h5: cannot be written.*NNSEG_CACHE'):
        weights.find(FILE)
