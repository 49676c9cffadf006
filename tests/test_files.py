"""Downloads, from a local server that also stalls, truncates, changes its mind and has nothing."""

import hashlib
import http.server
import os
import threading
import time

import h5py
import numpy as np
import pytest

import files
import models
from command import UserError
from models import weights

FILE = 'D3Net-S.h5'


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content`` under any path; what goes wrong is set by its attributes."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(('127.0.0.1', 0), Handler)
        self.content, self.tag = content, '"1"'
        self.cut_after = []  # bytes after which one request each is cut off
        self.stall_after = None  # bytes after which nothing more is sent
        self.missing = False
        self.resumable = True
        self.ranges = []  # the Range header of every request
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_address[1]}/weights/'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get('Range')
        server.ranges.append(wanted)
        if server.missing:
            return self.send_error(404)
        start = 0
        if wanted and server.resumable and self.headers.get('If-Range') == server.tag:
            start = int(wanted.removeprefix('bytes=').removesuffix('-'))
            if start >= len(server.content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if server.tag:
            self.send_header('ETag', server.tag)
        self.send_header('Content-Length', str(len(server.content) - start))
        self.end_headers()
        end = len(server.content)
        if server.cut_after:
            end = start + server.cut_after.pop(0)
        if server.stall_after is not None:
            end = start + server.stall_after
        self.wfile.write(server.content[start:end])
        self.wfile.flush()
        if server.stall_after is not None:
            server.released.wait(20)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """The bytes of a real HDF5 file of 1.2 MB."""
    path = tmp_path_factory.mktemp('content') / 'a.h5'
    with h5py.File(path, 'w') as file:
        file['a'] = np.random.RandomState(0).randn(150_000)
    return path.read_bytes()


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    server = Server(content)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / 'cache'))
    monkeypatch.setattr(weights, 'PROJECT', tmp_path)
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


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    server.cut_after = [len(server.content) - 1, 0]
    with pytest.raises(models.ModelError):
        weights.find(FILE)
    with open(tmp_path / 'cache' / f'{FILE}.part', 'ab') as part:
        part.write(b'12345')
    assert weights.find(FILE).read_bytes() == server.content


def test_a_stalled_server_is_given_up(server, tmp_path):
    server.stall_after = 0
    started = time.monotonic()
    with pytest.raises(files.DownloadError, match='sent nothing for 0.5 s'):
        files.fetch([server.url + FILE], tmp_path / 'a', stall_seconds=0.5)
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
    assert files.fetch(urls, tmp_path / 'a').read_bytes() == server.content


def test_an_error_page_is_not_taken_for_weights(server, tmp_path):
    server.content = b'<html>Please log in</html>'
    with pytest.raises(models.ModelError, match='not an HDF5 file'):
        weights.find(FILE)
    assert not (tmp_path / 'cache' / FILE).exists()


def test_a_known_digest_and_size_are_verified(server, content, tmp_path):
    digest = hashlib.sha256(content).hexdigest()
    url = [server.url + 'a']
    with pytest.raises(files.DownloadError, match=f'SHA-256 {digest} instead of 00'):
        files.fetch(url, tmp_path / 'a', sha256='00')
    with pytest.raises(files.DownloadError, match=f'{len(content)} bytes instead of 7'):
        files.fetch(url, tmp_path / 'a', size=7)
    assert not (tmp_path / 'a').exists()
    files.fetch(url, tmp_path / 'a', sha256=digest, size=len(content))


def test_a_cached_file_that_has_changed_is_refused(server):
    path = weights.find(FILE)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(models.ModelError, match='has changed since.*delete it'):
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
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / 'file' / 'cache'))
    with pytest.raises(models.ModelError, match='cannot write .*NNSEG_CACHE'):
        weights.find(FILE)


def test_targets_that_cannot_be_written_are_found_before_the_work(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file/a.png: cannot be written'):
        files.check_writable(tmp_path / 'file' / 'a.png')
    files.check_writable(tmp_path / 'new' / 'a.png')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'new']
    assert not list((tmp_path / 'new').iterdir())


def test_kinds_of_paths(tmp_path):
    (tmp_path / 'file').touch()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    kinds = {
        'file': 'file',
        '.': 'folder',
        'none': None,
        'file/a': None,
        'pipe': None,
        'link': None,
    }
    assert {name: files.kind_of(tmp_path / name) for name in kinds} == kinds


@pytest.mark.parametrize(
    ('name', 'reason'),
    [('x' * 300, 'File name too long'), ('loop', 'symbolic links'), ('a\0b', 'null')],
)
def test_a_path_that_cannot_be_asked_is_the_users_mistake(name, reason, tmp_path):
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    with pytest.raises(UserError, match=rf'{name}: cannot be read \(.*{reason}'):
        files.kind_of(tmp_path / name)


def test_a_path_in_a_closed_folder_is_the_users_mistake(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(os, 'stat', refuse)
    with pytest.raises(UserError, match=r'a.h5: cannot be read \(Permission denied\)'):
        files.kind_of(tmp_path / 'a.h5')
