"""A local TCP server that answers HTTP requests with any bytes, for tests of hostile servers."""

import contextlib
import socketserver
import threading


class RawServer(socketserver.ThreadingTCPServer):
    """Send the next of ``answers`` to each request, and close the connection.

    Attributes:
        answers: Bytes, or functions that return an iterable of bytes; the last one is sent to all
            further requests.
        requests: The head of every request, as text.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *answers):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.answers, self.requests = list(answers), []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        """The address of a file on the server."""
        return f'http://127.0.0.1:{self.server_address[1]}/file'

    def handle_error(self, request, client_address):
        """Ignore clients that close the connection."""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b''
        while b'\r\n\r\n' not in head:
            if not (line := self.rfile.readline()):
                return
            head += line
        self.server.requests.append(head.decode())
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        with contextlib.suppress(OSError):
            for part in [answer] if isinstance(answer, bytes) else answer():
                self.request.sendall(part)


def answer(body=b'', *headers, status='200 OK', length=True):
    """Return the bytes of an HTTP answer.

    Args:
        body: The content.
        headers: Lines such as ``ETag: "1"``.
        status: Status code and reason.
        length: The declared length; True for that of the body, None for no such header.
    """
    lines = [f'HTTP/1.1 {status}', *headers]
    if length is not None:
        lines.append(f'Content-Length: {len(body) if length is True else length}')
    return '\r\n'.join([*lines, '', '']).encode('latin-1') + body


def chunked(*chunks):
    """Return content in chunked transfer coding."""
    return b''.join(b'%x\r\n%s\r\n' % (len(chunk), chunk) for chunk in chunks)
