"""Downloads from a local server: resumed, retried, verified; failures are reported in one line."""

import hashlib
import threading
import time

import pytest

import models
from common import files
from common.downloading import download
from models import weights

FILE = 'D3Net-S.h5'


def test_a_missing_published_file_is_downloaded_once(server, tmp_path, caplog):
    caplog.set_level('INFO')
    path = weights.find('D3Net_S.h5')
    assert path == tmp_path / 'cache' / FILE
    assert caplog.messages[0].startswith('downloading http://')
    assert path.read_bytes() == server.content
    assert weights.find(FILE) == path
    assert len(server.ranges) == 1
    assert not list(path.parent.glob('*.part*'))


def test_cut_connections_are_resumed_where_they_ended(server):
    server.cut_after = [100_000, 200_000]
    path = weights.find(FILE)
    assert path.read_bytes() == server.content
    assert server.ranges == [None, 'bytes=100000-', 'bytes=300000-']


def test_a_later_call_resumes_the_part_of_an_earlier_one(server, tmp_path):
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


def test_without_range_requests_the_download_starts_again(server):
    server.resumable, server.cut_after = False, [100_000]
    assert weights.find(FILE).read_bytes() == server.content


@pytest.mark.parametrize('tells_length', [True, False])
def test_a_part_longer_than_the_file_is_discarded(server, tmp_path, tells_length):
    server.tells_length = tells_length
    server.cut_after = [len(server.content) - 1, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    with open(tmp_path / 'cache' / f'{FILE}.part', 'ab') as part:
        part.write(b'12345')
    assert weights.find(FILE).read_bytes() == server.content


def test_a_stalled_server_times_out(server, tmp_path):
    server.stall_after = 0
    started = time.monotonic()
    with pytest.raises(download.DownloadError, match='sent nothing for 0.5 s'):
        download.fetch([server.url + FILE], tmp_path / 'a', stall_seconds=0.5)
    assert time.monotonic() - started < 10


def test_a_missing_file_is_reported_with_every_remedy(server, tmp_path):
    server.missing = True
    with pytest.raises(models.ModelError) as caught:
        weights.find(FILE)
    message = str(caught.value)
    assert '\n' not in message
    assert f'{server.url}{FILE} answers 404' in message
    assert f'put it at {tmp_path}/cache/{FILE}' in message
    assert '-cfg configs/D3Net_T_camvid.yaml needs no download' in message


def test_without_network_the_address_is_reported(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/x')
    with pytest.raises(models.ModelError, match=f'http://127.0.0.1:9/x/{FILE} failed: .*refused'):
        weights.find(FILE)


def test_an_invalid_address_is_named(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'somewhere')
    with pytest.raises(models.ModelError, match='is not a valid address'):
        weights.find(FILE)


def test_the_mirror_option_overrides_the_environment(server, monkeypatch):
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/')
    assert weights.find(FILE, mirror=server.url).read_bytes() == server.content


def test_the_next_mirror_is_tried(server, tmp_path):
    urls = ['http://127.0.0.1:9/a', server.url + 'a']
    assert download.fetch(urls, tmp_path / 'a').read_bytes() == server.content


def test_an_error_page_is_not_accepted_as_weights(server, tmp_path):
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
    """The user pressed Ctrl-C during the verification."""

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


def test_a_complete_but_wrong_part_is_discarded(server, tmp_path):
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
def test_a_damaged_version_note_restarts_the_download(server, tmp_path, note):
    server.cut_after = [50_000, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    url = (server.url + FILE).encode()
    (tmp_path / 'cache' / f'{FILE}.part.json').write_bytes(note.replace(b'URL', url))
    assert weights.find(FILE).read_bytes() == server.content
    assert server.ranges == [None, 'bytes=50000-', None]


def test_two_processes_at_once_download_once(server):
    found = []
    threads = [threading.Thread(target=lambda: found.append(weights.find(FILE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(server.ranges) == 1


def test_a_read_only_cache_folder_is_reported_with_the_remedy(server, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / 'file' / 'cache'))
    with pytest.raises(models.ModelError, match='S.h5: cannot be written.*NNSEG_CACHE'):
        weights.find(FILE)


def test_a_link_that_leads_nowhere_is_not_replaced(server, tmp_path):
    link = tmp_path / 'cache' / FILE
    link.parent.mkdir()
    link.symlink_to(tmp_path / 'unmounted' / FILE)
    with pytest.raises(models.ModelError, match=f'{FILE}: .*link.*remove'):
        weights.find(FILE)
    assert link.is_symlink() and not server.ranges
