"""Damage to answers of web servers."""

from collections.abc import Sequence

import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_STATUS = (
    b'HTTP/1.1 200 OK', b'HTTP/1.1 206 Partial Content', b'HTTP/1.1 301 Moved',
    b'HTTP/1.1 302 Found',
    b'HTTP/1.1 304 Not Modified', b'HTTP/1.1 416 Range Not Satisfiable', b'HTTP/1.1 404 \x1b[2J',
    b'HTTP/1.1 500 x',
    b'HTTP/1.1 100 Continue', b'HTTP/1.1 999 x', b'HTTP/9.9 200 OK', b'HTTP/1.1 -1 x',
    b'ICY 200 OK', b'HTTP/1.1 401 x',
    b'HTTP/1.1 ' + b'2' * 70_000, b'HTTP/1.1 204 No Content', b'HTTP/1.1 503 \xff\xfe', b'',
    b'HTTP/1.0 206 x',
)  # fmt: skip
_HEADERS = (
    b'Content-Length: -1', b'Content-Length: 0', b'Content-Length: 99999999999999999999',
    b'Content-Length: x',
    b'Content-Length: 499', b'Content-Length: 501', b'Content-Length: 250',
    b'Content-Range: bytes 0-499/500',
    b'Content-Range: bytes 250-499/*', b'Content-Range: bytes 251-500/501',
    b'Content-Range: bytes */500',
    b'Content-Range: bytes 250-249/500', b'Content-Range: x', b'Content-Range: bytes \xb2-3/4',
    b'ETag: "other"',
    b'Content-Range: bytes ' + b'9' * 5000 + b'-1/2', b'ETag: W/"abc"', b'ETag: \x1b[2J',
    b'Content-Encoding: gzip',
    b'Location: file:///etc/passwd', b'Location: ftp://x/', b'Location: URL',
    b'Location: http://[', b'Location: //',
    b'Location: data:,x', b'Location: /\x1b[2J', b'Location: http://127.0.0.1:1/',
    b'Location: http://a b/\xff',
    b'Location: gopher://x', b'Location: http://user:secret@127.0.0.1:1/',
    b'Transfer-Encoding: chunked', b'x' * 70_000,
    b'Transfer-Encoding: gzip', b'Last-Modified: never', b': x', b'x', b' folded',
    b'a: b\r\n' * 300, b'A: \x00',
)  # fmt: skip


def change_status(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Answer with another status."""
    _, end, rest = data.partition(b'\r\n')
    return pick(rng, _STATUS) + end + rest


def change_header(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace, add or drop headers, perhaps with another status as well."""
    head, end, body = data.partition(b'\r\n\r\n')
    lines = head.split(b'\r\n')
    for _ in range(int(rng.integers(1, 4))):
        index = int(rng.integers(1, len(lines) + 1))
        lines[index : index + int(rng.integers(2))] = [pick(rng, _HEADERS)]
    if rng.random() < 0.5:
        lines[0] = pick(rng, _STATUS)
    return b'\r\n'.join(lines) + end + body


def change_body(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Send less or more than the declared length, or other content of the same length."""
    head, end, body = data.partition(b'\r\n\r\n')
    changes = (
        body[: len(body) // 2],
        body + b'x',
        body + bytes(1 << 20),
        body[::-1],
        b'',
        b'x' * len(body),
    )
    return head + end + pick(rng, changes)


OF_ANSWERS = (
    Mutator(change_status),
    Mutator(change_header),
    Mutator(change_header),
    Mutator(change_body),
)
