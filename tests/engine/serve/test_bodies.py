"""Bodies as hostile, slow and broken clients send them."""

import json
import socket
import threading
from contextlib import ExitStack

import pytest

from datasets.image_files import encode_image
from engine.serve import connections, guards, server
from engine.serve.settings import LimitSettings
from support import served, stand_ins

PNG = encode_image('.png', stand_ins.image(40, 56))
BODY = served.multipart(('image', 'a.png', PNG))
LARGE = 5_000_000  # bytes, more than the buffers of both sockets hold


@pytest.fixture(scope='module')
def hasty_server(tmp_path_factory):
    """A server whose uploads have to arrive within a moment."""
    folder = tmp_path_factory.mktemp('models')
    limits = LimitSettings(time_limit=0.5, max_bytes=200_000)
    with served.serving(served.tiny_settings(folder, limits), folder) as running:
        yield running


def head(*lines, path='/segment'):
    text = [f'POST {path} HTTP/1.1', 'Host: localhost', *lines]
    for name, value in served.MULTIPART_HEADER.items():
        text.append(f'{name}: {value}')
    return '\r\n'.join([*text, '', '']).encode()


class Client:
    """A connection that sends any bytes."""

    def __init__(self, server):
        self.socket = socket.create_connection(('127.0.0.1', server.port), served.HANG_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, *parts):
        """Send bytes; a reset by the server is a failure of the test."""
        for part in parts:
            self.socket.sendall(part)

    def read(self):
        """Return status, head and body of the answer; the server closes the connection."""
        data = b''
        while received := self.socket.recv(1 << 16):
            data += received
        return self.parsed(data)

    def read_one(self):
        """Return status, head and body of an answer with a length, on an open connection."""
        with self.socket.makefile('rb') as file:
            whole = b''
            while not whole.endswith(b'\r\n\r\n'):
                line = file.readline()
                if not line:
                    raise ConnectionError('closed without an answer')
                whole += line
            length = int(whole.lower().partition(b'content-length: ')[2].partition(b'\r\n')[0])
            return self.parsed(whole + file.read(length))

    @staticmethod
    def parsed(data):
        top, _, body = data.partition(b'\r\n\r\n')
        status = int(top.split(b' ')[1])
        return status, top.lower(), body


def test_a_chunked_body(small_server):
    with Client(small_server) as client:
        client.send(head('Transfer-Encoding: chunked', 'Connection: close'))
        for place in range(0, len(BODY), 100):
            piece = BODY[place : place + 100]
            client.send(b'%x\r\n%s\r\n' % (len(piece), piece))
        client.send(b'0\r\n\r\n')
        status, top, body = client.read()
    assert status == 200 and b'image/png' in top and body.startswith(b'\x89PNG')


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read(small_server):
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {10**12}'))
        status, _, body = client.read_one()
    assert status == 413 and b'--max-bytes' in body


def test_a_length_that_is_no_number(small_server):
    with Client(small_server) as client:
        client.send(head('Content-Length: 12x'), BODY)
        status, top, body = client.read()
    assert status == 400 and b'application/json' in top
    assert json.loads(body)['error'].startswith('not a request of HTTP/1.1')
    assert b'content-security-policy' in top


@pytest.mark.parametrize('framing', [f'Content-Length: {LARGE}', 'Transfer-Encoding: chunked'])
@pytest.mark.parametrize('path, expected', [('/segment', 413), ('/segmen', 404), ('/models', 405)])
def test_a_client_that_sends_all_before_it_reads_gets_the_answer(
    small_server, framing, path, expected
):
    """The rest of a refused body is discarded, or the client would see a reset."""
    chunked = 'chunked' in framing
    with Client(small_server) as client:
        client.send(head(framing, path=path))
        if chunked:
            client.send(b'%x\r\n' % LARGE)
        client.send(BODY[:200], bytes(LARGE - 200))
        if chunked:
            client.send(b'\r\n0\r\n\r\n')
        status, top, body = client.read()
    assert status == expected and b'connection: close' in top
    assert list(json.loads(body)) == ['error']


def test_a_refused_body_without_end_is_not_read_for_ever(small_server, monkeypatch):
    monkeypatch.setattr(guards, 'DISCARDED_BYTES', 1 << 20)
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {10**12}'))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1000):
                client.send(bytes(1 << 20))


def test_a_refused_body_that_does_not_come_is_not_awaited_for_ever(small_server, monkeypatch):
    monkeypatch.setattr(guards, 'DISCARDING_SECONDS', 0.1)
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {10**12}'))
        assert client.read()[0] == 413


def test_a_client_that_asks_first_is_not_told_to_send_a_refused_body(small_server):
    """As curl does with ``Expect: 100-continue``."""
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {10**9}', 'Expect: 100-continue'))
        assert client.read()[0] == 413
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {len(BODY)}', 'Expect: 100-continue'))
        assert client.socket.recv(1000).startswith(b'HTTP/1.1 100')
        client.send(BODY)
        assert client.read_one()[0] == 200


def test_more_bytes_than_the_length_says(small_server):
    """They are no part of the body: the answer is complete, then the connection ends."""
    with Client(small_server) as client:
        client.send(head(f'Content-Length: {len(BODY)}'), BODY + b'MORE' * 100 + b'\r\n\r\n')
        status, _, body = client.read()
    assert status == 200 and body.startswith(b'\x89PNG')


@pytest.mark.parametrize('sent', [0, 200, len(BODY) - 1])
def test_a_slow_upload(hasty_server, sent):
    with Client(hasty_server) as client:
        client.send(head(f'Content-Length: {len(BODY)}'), BODY[:sent])
        status, _, body = client.read_one()
    assert status == 408
    assert json.loads(body)['error'].startswith('the upload took longer than 0.5 seconds')
    while hasty_server.get('/health').json['waiting']:  # its place becomes free
        pass


@pytest.mark.parametrize('sent', [0, 200, len(BODY)])
def test_a_client_that_goes_away(small_server, sent):
    for _ in range(small_server.server.workers.capacity + 1):  # their places become free
        with Client(small_server) as client:
            client.send(head(f'Content-Length: {len(BODY)}'), BODY[:sent])
    while small_server.get('/health').json['waiting']:
        pass
    assert small_server.segment(PNG).status == 200


def test_a_place_is_taken_before_the_body_is_read(small_server):
    with ExitStack() as clients:
        for _ in range(small_server.server.workers.capacity):
            client = clients.enter_context(Client(small_server))
            client.send(head(f'Content-Length: {len(BODY)}'))
        while small_server.get('/health').json['waiting'] < 4:
            pass
        answer = small_server.segment(PNG)
        assert answer.status == 503 and answer.headers['Retry-After'] == '5'
        assert answer.error == 'the server is busy with 4 requests; try again in 5 seconds'
        assert small_server.get('/models').status == 200
        client.send(BODY)
        assert client.read_one()[0] == 200
    while small_server.get('/health').json['waiting']:
        pass
    assert small_server.segment(PNG).status == 200


@pytest.mark.usefixtures('small_server')  # the import of NNabla disconnects caplog
def test_an_upload_that_the_stop_cuts_off_leaves_no_traceback(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(server, 'CLOSING_SECONDS', 0.1)
    with ExitStack() as clients:
        with served.serving(served.tiny_settings(tmp_path), tmp_path) as running:
            client = clients.enter_context(Client(running))
            client.send(head(f'Content-Length: {len(BODY)}'), BODY[:200])
            while not running.get('/health').json['waiting']:
                pass
        assert client.socket.recv(100).startswith(b'HTTP/1.1 503')
    assert 'Traceback' not in caplog.text


def test_a_connection_without_a_request_is_closed(small_server, monkeypatch):
    monkeypatch.setattr(connections, 'HEAD_SECONDS', 0.2)
    for sent in (b'', b'GET /mod', b'POST /segment HTTP/1.1\r\nHost: localhost\r\n'):
        with Client(small_server) as client:
            client.send(sent)
            assert client.socket.recv(100) == b''


def test_a_client_that_does_not_read_is_cut_off(small_server, monkeypatch):
    monkeypatch.setattr(connections, 'ANSWER_SECONDS', 0.2)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(served.HANG_SECONDS)
        client.connect(('127.0.0.1', small_server.port))
        request = b'GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n'
        client.sendall(request * 20)
        while small_server.server.server_state.connections:
            threading.Event().wait(0.01)


def test_many_connections(small_server, monkeypatch):
    monkeypatch.setattr(connections, 'MAX_CONNECTIONS', 5)
    with ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(Client(small_server)).send(b'GET /mod')
        while len(small_server.server.server_state.connections) < 5:
            pass
        with Client(small_server) as sixth, pytest.raises(ConnectionError):
            sixth.send(b'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
            sixth.read_one()
    while small_server.server.server_state.connections:
        pass
    assert small_server.get('/health').status == 200
