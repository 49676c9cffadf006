"""Connections to clients that do not send, or do not read."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.serve.guards import SECURITY_HEADERS, error_answer
from engine.serve.refusal import Refusal

HEAD_SECONDS = 20  # in which the head of a request has to arrive
ANSWER_SECONDS = 60  # in which a client has to read what an answer has buffered
MAX_CONNECTIONS = 512  # at the same time; each takes a descriptor of the process


class Connection(H11Protocol):
    """A connection of HTTP/1.1 that is closed when its client stalls.

    uvicorn waits without end for the head of a request, and for a client to read its answer.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request for a while."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        self._head = self.loop.call_later(HEAD_SECONDS, self._close_without_request)

    def data_received(self, data: bytes) -> None:
        """Wait for a further request for a while, from its first bytes on."""
        super().data_received(data)
        if not self._between_requests():
            self._head = _stopped(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._close_without_request)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, in the form of all refusals."""
        refusal = Refusal(400, f'not a request of HTTP/1.1 ({msg}); /docs describes the interface')
        answer = error_answer(refusal)
        answer.headers.update({**SECURITY_HEADERS, 'Connection': 'close'})
        for event in (
            h11.Response(status_code=400, headers=answer.raw_headers, reason=b'Bad Request'),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._head, self._reading = _stopped(self._head), _stopped(self._reading)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read for a while."""
        super().pause_writing()
        self._reading = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue when the client has read."""
        super().resume_writing()
        self._reading = _stopped(self._reading)

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_without_request(self) -> None:
        self._head = None
        if self._between_requests() and not self.transport.is_closing():
            self.transport.close()


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer, if there is one, and return None in its place."""
    if timer is not None:
        timer.cancel()
    return None
