"""Get files over HTTP from servers that may be broken or hostile.

Only ``http`` and ``https`` addresses are opened, also after a redirect. A server that sends too
slowly, too much, or an endless header is given up. ``urllib.request.urlopen`` opens local files,
reads the whole body of a redirect, and waits as long as a byte comes now and then; this module uses
its connections and its handling of proxies.
"""

import base64
import http.client
import io
import re
import socket
import string
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from common.terminal.short_repr import short_text

SLOWEST_BYTES_PER_SECOND = 1000
MAX_BYTES_WITHOUT_CONTENT = 1 << 20  # headers, and what frames the content
MAX_REDIRECTS = 10
EXCESS_SECONDS = 0.5  # time in which bytes behind the end of a body arrive
BLOCK_BYTES = 1 << 18
CONTENT = (200, 206)  # status codes of answers with the file, or a part of it
# Encodings that change nothing; some servers write these names though they do not exist.
PLAIN_CONTENT = ('', 'identity', 'none', 'binary', 'utf-8', 'aws-chunked')
REDIRECTS = (301, 302, 303, 307, 308)


class AnswerError(Exception):
    """An address does not deliver the file, and another attempt would not either."""


class ExcessError(AnswerError):
    """A server sent more than it should."""


class ConnectionFailedError(Exception):
    """A connection failed or ended; another attempt may succeed."""


class Answer:
    """The answer of a server; its content has not been read yet.

    Attributes:
        status: The status code, such as 200.
        is_chunked: Whether the server marks the end of the content.
    """

    def __init__(self, response: '_Response', seconds: float):
        self._response, self._seconds = response, seconds
        response.pace.restart()
        self.status = response.status
        self.is_chunked = bool(response.chunked)

    def __str__(self) -> str:
        return f'answers {self.status} {_shortened(self._response.reason)}'.rstrip()

    def header(self, name: str) -> str | None:
        """Return the value of a header; None if it is missing or has several values."""
        values = self._response.headers.get_all(name, [])
        return values[0].strip() if len(values) == 1 else None

    def length(self) -> int | None:
        """Return the declared length of the content in bytes; None if there is none.

        Raises:
            AnswerError: The declared length is no number, or there are several.
        """
        headers = self._response.headers.get_all('Content-Length', [])
        values = {value.strip() for header in headers for value in header.split(',')}
        if not values:
            return None
        if len(values) > 1 or not re.fullmatch(r'[0-9]{1,18}', value := values.pop()):
            given = ', '.join(headers)
            raise AnswerError(f'declares the length {_shortened(given)!r}, which is no length')
        return int(value)

    def refuse_encodings(self) -> None:
        """Raise ``AnswerError`` unless the content is the bytes of the file."""
        for name, plain in (
            ('Content-Encoding', PLAIN_CONTENT),
            ('Transfer-Encoding', ('', 'chunked')),
        ):
            values = self._response.headers.get_all(name, [])
            if any(value.strip().lower() not in plain for value in values):
                given = _shortened(', '.join(values))
                raise AnswerError(f'answers with {name} {given!r}, which was not asked for')

    def blocks(self, most: int) -> Iterator[bytes]:
        """Yield the content in blocks.

        Args:
            most: The largest acceptable number of bytes.

        Raises:
            AnswerError: The content arrives too slowly.
            ExcessError: The server sends more than ``most`` bytes, or more than it declared.
            ConnectionFailedError: The connection ended early.
        """
        received = 0
        with _network_errors(self._seconds):
            while block := self._response.read1(BLOCK_BYTES):
                self._response.pace.count_content()
                received += len(block)
                if received > most:
                    raise ExcessError(f'sent more than the expected {most} bytes')
                yield block
            if self._response.sends_more():
                raise ExcessError(f'sent more than the {received} bytes that it declared')


@contextmanager
def get(url: str, headers: Mapping[str, str], seconds: float) -> Iterator[Answer]:
    """Send a GET request, follow redirects, and yield the answer.

    Args:
        url: The address. A user name and a password in it are sent as basic authentication.
        headers: Headers of the request.
        seconds: Timeout for a connection without data, and the time over which its speed is
            measured.

    Raises:
        AnswerError: The address is invalid, or leads to one that must not be opened, or the content
            is encoded.
        ConnectionFailedError: The server is not reachable, or its answer is damaged.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _HTTPHandler(), _HTTPSHandler()):
        opener.add_handler(handler)
    for _ in range(MAX_REDIRECTS + 1):
        request = _request(url, headers)
        with _network_errors(seconds):
            response = opener.open(request, timeout=seconds)
        with closing(response):
            answer = Answer(response, seconds)
            location = answer.header('Location')
            if answer.status not in REDIRECTS or location is None:
                if answer.status in CONTENT:
                    answer.refuse_encodings()
                yield answer
                return
        url = redirect_target(url, location)
    raise AnswerError(f'redirects more than {MAX_REDIRECTS} times')


def shown(url: str) -> str:
    """Return an address for messages: not too long, without a password."""
    return _shortened(without_login(url))


def without_login(url: str) -> str:
    """Return an address with asterisks for the user name and the password in it."""
    return re.sub(r'(?<=//)[^/?#]*@', '***@', url)


def _shortened(text: str) -> str:
    """Return what a server sent, for a message: a short line of ASCII characters."""
    return short_text(' '.join(text.split()).encode('ascii', 'backslashreplace').decode())


def _request(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    """Return the request for an address; raise ``AnswerError`` if it is not valid."""
    if odd := re.search(r'[^!-~]', url):
        raise AnswerError(f'is not a valid address: write {odd[0]!r} in it as {quote(odd[0])}')
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != -1  # raises an error for a wrong port
    except ValueError as error:  # the message may hold a part of a password
        raise AnswerError('is not a valid address: its host or port is wrong') from error
    if parts.scheme not in ('http', 'https'):
        raise AnswerError('is not a valid address: it must start with http:// or https://')
    if not has_host:
        raise AnswerError('is not a valid address: it names no host')
    login, _, host = parts.netloc.rpartition('@')
    request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers=dict(headers))
    if login:
        encoded = base64.b64encode(unquote(login).encode()).decode()
        request.add_header('Authorization', f'Basic {encoded}')
    return request


def redirect_target(url: str, location: str) -> str:
    """Return the address of a redirect; raise ``AnswerError`` if it must not be opened."""
    try:
        target = urljoin(url, quote(location, encoding='iso-8859-1', safe=string.punctuation))
        scheme, _ = urlsplit(target).scheme, urlsplit(target).port  # may raise, too
    except ValueError as error:
        raise AnswerError(f'redirects to {shown(location)!r}, no valid address') from error
    if scheme not in ('http', 'https'):
        problem = 'which is not an http:// or https:// address'
    elif scheme == 'http' and urlsplit(url).scheme == 'https':
        problem = 'which is not protected as https:// is'
    else:
        return target
    raise AnswerError(f'redirects to {shown(target)}, {problem}')


@contextmanager
def _network_errors(seconds: float) -> Iterator[None]:
    """Convert everything that a server or the network can cause to ``ConnectionFailedError``."""
    try:
        yield
    except http.client.IncompleteRead as error:
        raise ConnectionFailedError('failed: closed the connection within a chunk') from error
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        reason = getattr(error, 'reason', None) or error
        if isinstance(reason, TimeoutError):
            raise ConnectionFailedError(f'sent nothing for {seconds:g} s') from error
        raise ConnectionFailedError(f'failed: {_shortened(str(reason))}') from error


class _PacedReader(io.RawIOBase):
    """Reads from a connection; raises ``AnswerError`` if the server is too slow.

    Only the time that is spent waiting for the server counts, from its first byte on.
    """

    def __init__(self, source: io.RawIOBase, seconds: float):
        self._source, self._seconds = source, seconds
        self._has_begun = False
        self.restart()

    def restart(self) -> None:
        """Measure the speed, and the bytes without content, from now on."""
        self._waited = 0.0
        self._received = self._without_content = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read into a buffer and return the number of bytes."""
        started = time.monotonic()
        count = self._source.readinto(buffer)
        if self._has_begun:
            self._waited += time.monotonic() - started
        self._has_begun = True
        self._received += count or 0
        self._without_content += count or 0
        if self._without_content > MAX_BYTES_WITHOUT_CONTENT:
            raise AnswerError(f'sent {self._without_content} bytes without content')
        if self._waited >= self._seconds:
            if self._received < SLOWEST_BYTES_PER_SECOND * self._waited:
                raise AnswerError(
                    f'sent fewer than {SLOWEST_BYTES_PER_SECOND} bytes a second '
                    f'for {self._seconds:g} s'
                )
            self._waited, self._received = 0.0, 0
        return count

    def count_content(self) -> None:
        """Note that some of the bytes were content."""
        self._without_content = 0

    def close(self) -> None:
        """Close the connection."""
        self._source.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read by a :class:`_PacedReader`."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any):
        super().__init__(sock, *args, **options)
        self._socket = sock
        self.pace = _PacedReader(self.fp.detach(), sock.gettimeout() or 0)
        self.fp = io.BufferedReader(self.pace)

    def sends_more(self) -> bool:
        """Return whether bytes follow a body that came in its declared length."""
        if self.fp is None:
            return False  # the server has closed the connection
        self._socket.settimeout(EXCESS_SECONDS)
        try:
            return bool(self.fp.read1(1))
        except (OSError, ValueError):
            return False


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, request)
