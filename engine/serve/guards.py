"""ASGI middleware: who may use the server, headers of security, and bodies that are not read."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.hosts import is_loopback, name_of
from engine.serve.refusal import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
SECURITY_HEADERS = {
    'Content-Security-Policy': POLICY,
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
}
# What is read of a body after its request was refused, so that the client reads the answer: one
# that is still sending when the connection closes sees a broken connection instead.
DISCARDED_BYTES, DISCARDING_SECONDS = 256 << 20, 4


def error_answer(refusal: Refusal) -> Response:
    """Return the JSON answer to a refused request."""
    body = json.dumps({'error': str(refusal)}).encode()
    return Response(body, refusal.status, refusal.headers, 'application/json')


class SecurityHeaders:
    """Add the headers of security that an answer does not have, and answer HEAD as GET."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_with_headers(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope['method'] == 'HEAD':  # uvicorn sends no body
            scope = {**scope, 'method': 'GET'}
        await self.app(scope, receive, send_with_headers)


class UnreadBodies:
    """Discard the rest of a body whose request was answered before it was read, within bounds."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        exchange = _Exchange(scope, receive, send)
        await self.app(scope, exchange.receive, exchange.send)
        await exchange.finish()


class _Exchange:
    """One request and its answer, whose end is held back while the rest of a body is read."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self._receive, self._send = receive, send
        headers = Headers(scope=scope)
        length = headers.get('content-length', '0')
        self._unread = length != '0' or 'transfer-encoding' in headers
        # Such a client does not send a body before it is read.
        self._expects = headers.get('expect', '').lower() == '100-continue'
        self._held = False

    async def receive(self) -> Message:
        """Receive a message and note the end of the body."""
        self._expects = False
        message = await self._receive()
        if message['type'] == 'http.disconnect' or not message.get('more_body'):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        """Send a message, but not the end of an answer to a request with an unread body."""
        if self._unread and message['type'] == 'http.response.start':
            MutableHeaders(scope=message)['Connection'] = 'close'
        elif self._unread and not message.get('more_body'):
            self._held = True
            message = {**message, 'more_body': True}
        await self._send(message)

    async def finish(self) -> None:
        """Discard the rest of the body and end the answer."""
        if not self._held:
            return
        if not self._expects:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._discard(), DISCARDING_SECONDS)
        await self._send({'type': 'http.response.body', 'body': b'', 'more_body': False})

    async def _discard(self) -> None:
        discarded = 0
        while self._unread and discarded < DISCARDED_BYTES:
            discarded += len((await self.receive()).get('body', b''))


class Doorkeeper:
    """Refuse requests for other host names, and from web pages of other origins.

    A web page elsewhere can make a browser send requests to this machine. With a host name of its
    own that leads here (DNS rebinding) it could also read the answers.

    Args:
        app: The application.
        hosts: Host names that requests may name; None for any.
        origins: Origins of other web pages that may use the server.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None, origins: Iterable[str]):
        self.app, self._origins = app, frozenset(origins)
        self._hosts = None if hosts is None else frozenset(map(str.lower, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            self._check(Headers(scope=scope))
        except Refusal as refusal:
            await error_answer(refusal)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        host, origin = headers.get('host', ''), headers.get('origin')
        name = name_of(host)
        if self._hosts is not None and name not in self._hosts and not is_loopback(name):
            raise Refusal(
                400,
                f'the host {name[:200]!r} is not served here; open http://127.0.0.1 with the port '
                'of the server, or start it with --allow-host NAME',
            )
        if origin is None or origin.partition('://')[2].lower() == host.lower():
            return
        if origin not in self._origins:
            raise Refusal(
                403,
                f'web pages of {origin[:200]} may not use this server; start it with '
                '--allow-origin URL',
            )
