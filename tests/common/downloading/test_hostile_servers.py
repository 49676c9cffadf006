"""Answers of broken and hostile servers count only if they are right; others end in one line."""

import itertools
import os
import time

import pytest

from common.downloading import download, http_get
from common.errors import UserError
from support.raw_server import RawServer, answer, chunked

FILE = bytes(range(256)) * 40
HALF = len(FILE) // 2
TAG = 'ETag: "1"'
RANGE = f'Content-Range: bytes {HALF}-{len(FILE) - 1}/{len(FILE)}'
PART = '206 Partial Content'


@pytest.fixture
def serve():
    """Return a function that starts a server with some answers."""
    servers = []

    def start(*answers):
        servers.append(RawServer(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetched(server, folder, **options):
    """Download into a folder and return the content."""
    options = {'stall_seconds': 5, **options}
    return download.fetch([server.url], folder / 'a', **options).read_bytes()


def ranges(server):
    """Return the range of each request, None where it asks for the whole file."""
    lines = [head.split('\r\n') for head in server.requests]
    return [next((line for line in each if line.startswith('Range')), None) for each in lines]


ASKED = [None, f'Range: bytes={HALF}-']
CUT = answer(FILE[:HALF], TAG, length=len(FILE))


def test_a_right_part_is_continued(serve, tmp_path):
    server = serve(CUT, answer(FILE[HALF:], TAG, RANGE, status=PART))
    assert fetched(server, tmp_path) == FILE
    assert ranges(server) == ASKED
    assert (tmp_path / 'a.sha256').exists()


OTHER_PARTS = {
    'no range': (TAG,),
    'another start': (TAG, f'Content-Range: bytes 0-{HALF - 1}/{len(FILE)}'),
    'another end': (TAG, f'Content-Range: bytes {HALF}-{len(FILE)}/{len(FILE)}'),
    'another total': (TAG, f'Content-Range: bytes {HALF}-{len(FILE) + 9}/{len(FILE) + 10}'),
    'unknown total': (TAG, f'Content-Range: bytes {HALF}-{len(FILE) - 1}/*'),
    'too many digits': (TAG, f'Content-Range: bytes {HALF}-{"9" * 5000}/{"9" * 5000}'),
    'two ranges': (TAG, RANGE, RANGE.replace('5120-', '0-')),
    'several parts': (TAG, 'Content-Type: multipart/byteranges; boundary=x'),
    'no tag': (RANGE,),
    'another tag': ('ETag: "2"', RANGE),
    'a weak tag': ('ETag: W/"1"', RANGE),
    'a date': ('Last-Modified: Fri, 27 Nov 2026 17:43:17 GMT', RANGE),
}


@pytest.mark.parametrize('case', OTHER_PARTS)
def test_another_part_is_not_appended(case, serve, tmp_path):
    wrong = answer(FILE[HALF:][::-1], *OTHER_PARTS[case], status=PART)
    server = serve(CUT, wrong, answer(FILE, TAG))
    assert fetched(server, tmp_path) == FILE
    assert ranges(server) == [*ASKED, None]


@pytest.mark.parametrize('total', [len(FILE), len(FILE) + 4])
def test_a_part_of_another_length_is_not_appended(total, serve, tmp_path):
    """It is longer than its range, or both are longer than the file was."""
    place = f'Content-Range: bytes {HALF}-{total - 1}/{total}'
    server = serve(CUT, answer(FILE[HALF:] + b'more', TAG, place, status=PART), answer(FILE, TAG))
    assert fetched(server, tmp_path) == FILE
    assert ranges(server) == [*ASKED, None]


def test_a_file_that_has_grown_is_downloaded_anew(serve, tmp_path):
    grown = answer(b'', 'Content-Range: bytes */99999', status='416 Range Not Satisfiable')
    server = serve(CUT, grown, answer(FILE, TAG))
    assert fetched(server, tmp_path) == FILE
    assert ranges(server) == [*ASKED, None]


def endless(start, part=bytes(1000), pause=0.0):
    """Return an answer that never ends."""

    def parts():
        yield start
        for _ in range(10_000_000):
            time.sleep(pause)
            yield part

    return parts


REFUSED = {
    'a part without a request': (answer(FILE, RANGE, status=PART), 'answers 206 Partial Content'),
    'no content': (answer(status='204 No Content'), 'answers 204 No Content'),
    'not modified': (answer(status='304 Not Modified'), 'answers 304 Not Modified'),
    'an endless reason': (answer(status=f'500 {"x" * 9000}'), r'answers 500 x{197}\.\.\.'),
    'longer than declared': (answer(FILE, length=9000), 'sent more than the 9000 bytes that it'),
    'negative length': (answer(FILE, length=-5), "declares the length '-5', which is no"),
    'no length': (answer(FILE, length='five'), "declares the length 'five', which is no"),
    'two lengths': (answer(FILE, 'Content-Length: 5'), "declares the length '5, 10240', which"),
    'long length': (answer(FILE, length='9' * 5000), "declares the length '9{197}...', which"),
    'more than the disk has': (answer(FILE, length=10**17), 'needs 10+.0 MB, .* MB are free'),
    'gzip': (answer(FILE, 'Content-Encoding: gzip'), "answers with Content-Encoding 'gzip', which"),
    'coded twice': (
        answer(FILE, 'Transfer-Encoding: gzip, chunked', length=None),
        "answers with Transfer-Encoding 'gzip, chunked', which",
    ),
    'cut chunk': (
        answer(chunked(FILE)[:-9], 'Transfer-Encoding: chunked', length=None),
        'closed the connection within a chunk',
    ),
    'no last chunk': (
        answer(chunked(FILE), 'Transfer-Encoding: chunked', length=None),
        'closed the connection within a chunk',
    ),
    'chunks longer than declared': (
        answer(chunked(FILE, b''), 'Transfer-Encoding: chunked', length=9000),
        'sent more than the expected 9000',
    ),
    'endless trailer': (
        endless(
            answer(chunked(FILE, b'')[:-2], 'Transfer-Encoding: chunked', length=None), b'a\n' * 999
        ),
        'bytes without content',
    ),
    'endless body': (endless(answer(length=None)), 'sent more than the expected 100000 bytes'),
    'endless line': (endless(b'HTTP/1.1 200 OK\r\nA: '), 'failed: got more than 65536 bytes'),
    'endless headers': (
        endless(b'HTTP/1.1 200 OK\r\n', b'A: b\r\n' * 99),
        'failed: got more than 100 headers',
    ),
    'endless interim answers': (
        endless(b'', b'HTTP/1.1 100 Continue\r\n\r\n' * 99),
        'bytes without content',
    ),
    'no HTTP': (b'<html>\r\n\r\n', 'failed: <html>'),
    'bytes': (b'\xad\x9b', r'failed: \\xad\\x9b$'),
    'nothing': (b'', 'failed: Remote end closed connection'),
    'slow body': (endless(answer(length=None), b'a', 0.02), 'sent fewer than 1000 bytes a second'),
    'slow header': (endless(b'HTTP/1.1 2', b'0', 0.02), 'sent fewer than 1000 bytes a second'),
    'stalled body': (endless(answer(length=9), b'a', 2), 'sent nothing for 0.4 s'),
    'endless redirects': (answer(b'', 'Location: /', status='302 F'), 'redirects more than 10 ti'),
    'endless body of a redirect': (
        endless(answer(b'', 'Location: ftp://a/b', status='301 M', length=None)),
        'redirects to ftp://a/b, which is not an http',
    ),
    'a local file': (
        answer(b'', 'Location: file:///etc/passwd', status='307 T'),
        'redirects to file:///etc/passwd, which is not an http',
    ),
    'data in an address': (
        answer(b'', 'Location: data:,x', status='302 F'),
        'redirects to data:,x, which is not an http',
    ),
    'an odd redirect': (
        answer(b'', 'Location: http://[x', status='308 P'),
        r"redirects to 'http://\[x', no valid address",
    ),
    'a redirect to an odd port': (
        answer(b'', 'Location: http://me:pw@x:99999/', status='308 P'),
        r"redirects to 'http://\*\*\*@x:99999/', no valid address",
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_other_answers_end_in_one_line(case, serve, tmp_path):
    content, problem = REFUSED[case]
    server = serve(content)
    started = time.monotonic()
    with pytest.raises((download.DownloadError, UserError), match=problem) as caught:
        fetched(server, tmp_path, max_undeclared=100_000, stall_seconds=0.4)
    assert time.monotonic() - started < 20
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not {'a', 'a.sha256'} & set(os.listdir(tmp_path))


@pytest.mark.parametrize('name', ['none', 'binary', 'UTF-8', 'aws-chunked'])
def test_encodings_that_change_nothing_are_accepted(name, serve, tmp_path):
    assert fetched(serve(answer(FILE, f'Content-Encoding: {name}')), tmp_path) == FILE


def test_a_known_size_limits_the_download(serve, tmp_path):
    for content, problem in (
        (answer(FILE), f'offers {len(FILE)} bytes instead of 7'),
        (endless(answer(length=None)), 'sent more than the expected 7 bytes'),
    ):
        with pytest.raises(download.DownloadError, match=problem):
            fetched(serve(content), tmp_path, size=7)
    assert not (tmp_path / 'a.part').exists()


def test_only_a_file_that_came_whole_gets_a_record(serve, tmp_path, caplog):
    chunks = answer(chunked(FILE, b''), 'Transfer-Encoding: chunked', length=None)
    for number, content in enumerate((answer(FILE), chunks, answer(FILE, length=None))):
        folder = tmp_path / str(number)
        assert fetched(serve(content), folder) == FILE
        assert (folder / 'a.sha256').exists() == (number < 2)
    assert 'a: its SHA-256 is not recorded: http://127.0.0.1' in caplog.messages[-1]
    (folder / 'a').unlink()
    fetched(serve(answer(FILE)), folder)
    (folder / 'a').unlink()
    with pytest.raises(download.DownloadError, match='but the first download had'):
        fetched(serve(answer(FILE[:HALF], length=None)), folder)


def test_redirects_to_other_hosts_are_followed(serve, tmp_path):
    server = serve(answer(FILE))
    place = server.url.replace('127.0.0.1', 'localhost').replace('file', 'a b/\xe4')
    first = serve(answer(b'', f'Location: {place}', status='302 Found'))
    assert fetched(first, tmp_path) == FILE
    assert server.requests[0].startswith('GET /a%20b/%E4 HTTP/1.1')


def test_a_redirect_does_not_leave_https():
    assert http_get.redirect_target('http://a/b', 'https://c/d') == 'https://c/d'
    with pytest.raises(http_get.AnswerError, match='redirects to http://c/d, which is not protec'):
        http_get.redirect_target('https://a/b', 'http://c/d')


ADDRESSES = ['', 'a/b', 'file:///etc/passwd', 'ftp://a/b', 'data:,x', 'http://', 'http:///x']
ADDRESSES += ['http://[::1/x', 'http://a:99999/x', 'http://a:x/', 'http://a b/', 'http://a/\n']
ADDRESSES += ['http://\u0661/', 'http://a/\x1b[2J']


@pytest.mark.parametrize('url', ADDRESSES)
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(download.DownloadError, match='is not a valid address: ') as caught:
        download.fetch([url], tmp_path / 'a')
    assert '\n' not in str(caught.value).replace(url, '')


def test_a_password_is_sent_but_not_shown(serve, tmp_path, caplog):
    caplog.set_level('INFO')
    server = serve(CUT, b'', answer(FILE))
    url = server.url.replace('http://', 'http://me:secret%2F@')
    with pytest.raises(
        download.DownloadError, match=r'http://\*\*\*@127.0.0.1.* Remote end'
    ) as caught:
        download.fetch([url], tmp_path / 'a')
    assert 'secret' not in str(caught.value)
    assert b'secret' not in (tmp_path / 'a.part.json').read_bytes()
    assert download.fetch([url], tmp_path / 'a').read_bytes() == FILE
    assert 'Authorization: Basic bWU6c2VjcmV0Lw==' in server.requests[0]  # base64 of me:secret/
    assert ranges(server)[2] == ASKED[1]
    assert caplog.text.count('***@') == 2
    assert 'secret' not in caplog.text
    with pytest.raises(download.DownloadError) as caught:
        download.fetch(['http://me:secret@a:port/'], tmp_path / 'b')
    assert 'secret' not in str(caught.value)


def put_folder(path, victim):
    path.mkdir()


def put_link(path, victim):
    path.symlink_to(victim)


def put_dangling_link(path, victim):
    path.symlink_to(victim.with_name('missing'))


def put_pipe(path, victim):
    os.mkfifo(path)


ODD = [
    pair
    for pair in itertools.product(
        ['', '.part', '.part.json', '.sha256'], [put_folder, put_link, put_dangling_link, put_pipe]
    )
    if pair[0] or 'link' not in pair[1].__name__  # a link to a file is the file
]


@pytest.mark.parametrize(('suffix', 'put'), ODD)
def test_odd_files_beside_the_target_are_refused(suffix, put, serve, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_bytes(b'kept')
    path = tmp_path / f'a{suffix}'
    put(path, victim)
    server = serve(CUT)
    with pytest.raises(UserError, match=f'^{path}: is a .* and must be a file; remove it$'):
        fetched(server, tmp_path)
    assert victim.read_bytes() == b'kept'
    assert server.requests == []
    assert not (tmp_path / 'missing').exists()


NOTES = ['[' * 100_000, '{"url": "URL", "tag": "\\"1\\"", "total": -1}', '{"url": 1}', '1' * 5000]
NOTES += ['{"url": "URL", "tag": "\\"1\\"", "total": true}']


@pytest.mark.parametrize('note', NOTES)
def test_an_odd_note_starts_the_download_anew(note, serve, tmp_path):
    server = serve(CUT, b'', answer(FILE, TAG))
    with pytest.raises(download.DownloadError):
        fetched(server, tmp_path)
    (tmp_path / 'a.part.json').write_text(note.replace('URL', server.url))
    assert fetched(server, tmp_path) == FILE
    assert ranges(server) == [*ASKED, None]
