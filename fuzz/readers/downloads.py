"""What servers send: damaged answers to a download, whole or continued."""

import hashlib
import json
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from common.downloading import download
from common.errors import UserError
from fuzz.inputs import Content, Reader
from fuzz.mutators import http

_ANSWER, _TARGET, _BODY_BYTES = 'answer', 'model.bin', 500
_PART, _NOTE = f'{_TARGET}.part', f'{_TARGET}.part.json'
_DIGEST = 'sha256'  # file with the digest of the valid file
_MOST_CONNECTIONS, _STALL_SECONDS = 20, 1.0


def _answers(rng: np.random.Generator) -> list[Content]:
    body = rng.bytes(_BODY_BYTES)
    half = _BODY_BYTES // 2
    digest = hashlib.sha256(body).hexdigest().encode()

    def right(found: bytes) -> bool:
        return found == body

    whole = _answer('200 OK', body, 'ETag: "abc"')
    rest = _answer(
        '206 Partial Content',
        body[half:],
        'ETag: "abc"',
        f'Content-Range: bytes {half}-{_BODY_BYTES - 1}/{_BODY_BYTES}',
    )
    chunked = b''.join(
        [
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
            *(b'%x\r\n%b\r\n' % (len(p), p) for p in (body[:half], body[half:])),
            b'0\r\n\r\n',
        ]
    )
    note = json.dumps({'url': 'URL', 'tag': '"abc"'}).encode()
    begun = {_PART: body[:half], _NOTE: note}
    return [
        Content({_ANSWER: whole, _DIGEST: digest}, _ANSWER, '', right, True),
        Content({_ANSWER: chunked, _DIGEST: digest}, _ANSWER, '', right, True),
        Content({_ANSWER: rest, _DIGEST: digest, **begun}, _ANSWER, '', right, True),
        Content({_ANSWER: whole, _DIGEST: digest, **begun}, _NOTE, '', right, True),
    ]


def _answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f'HTTP/1.1 {status}', f'Content-Length: {len(body)}', *headers, '', '']
    return '\r\n'.join(lines).encode() + body


def _read(root: Path) -> bytes:
    """Return the file that is downloaded from a server with the input's answer."""
    os.environ['no_proxy'] = '*'
    answer = (root / _ANSWER).read_bytes()
    with socket.create_server(('127.0.0.1', 0)) as server:
        url = f'http://127.0.0.1:{server.getsockname()[1]}/{_ANSWER}'
        if (root / _NOTE).is_file():
            note = (root / _NOTE).read_bytes()
            (root / _NOTE).write_bytes(note.replace(b'URL', url.encode()))
        thread = threading.Thread(target=_serve, args=(server, answer, url), daemon=True)
        thread.start()
        try:
            download.fetch(
                [url],
                root / _TARGET,
                sha256=(root / _DIGEST).read_text(),
                stall_seconds=_STALL_SECONDS,
            )
        except download.DownloadError as error:  # as the callers do
            raise UserError(str(error)) from error
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()
    return (root / _TARGET).read_bytes()


def _serve(server: socket.socket, answer: bytes, url: str) -> None:
    """Answer every request with the same bytes, and close the connection."""
    with suppress(OSError):  # the reader has closed its end, or the server is closed
        for _ in range(_MOST_CONNECTIONS):
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.settimeout(_STALL_SECONDS)
                connection.recv(1 << 16)
                connection.sendall(answer.replace(b'URL', url.encode()))


def _records(rng: np.random.Generator) -> list[Content]:
    body = rng.bytes(_BODY_BYTES)
    record = f'{hashlib.sha256(body).hexdigest()}  {_TARGET}\n'.encode()
    files = {_TARGET: body, f'{_TARGET}.sha256': record}

    def right(mismatch: str | None) -> bool:
        return mismatch is None

    return [Content(files, target, _TARGET, right, keeps_name=True) for target in files]


def _compare(path: Path) -> None:
    mismatch = download.digest_mismatch(path)
    if mismatch is not None:  # as the callers do
        raise UserError(mismatch)


READERS = (
    Reader('download_record', _records, _compare),
    Reader('download', _answers, _read, http.OF_ANSWERS, has_checksums=True, share=2),
)
