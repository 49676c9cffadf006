"""A local HTTP server of archives, for tests of data set downloads."""

import http.server
import io
import threading
import zipfile


class ArchiveServer(http.server.ThreadingHTTPServer):
    """Serve archives by name and record the requests; attributes switch faults on.

    Attributes:
        archives: Bytes by name; a request of another name gets a 404.
        requests: (name, Range header) of every request.
        cut_after: Numbers of bytes; each one cuts off one response after so many bytes.
        stall_after: Number of bytes after which the server stops sending; None disables stalls.
        released: Event that ends all stalls.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.archives, self.requests = {}, []
        self.cut_after = []
        self.stall_after = None
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        """The base address, with a slash at the end."""
        return f'http://127.0.0.1:{self.server_address[1]}/mirror/'


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, wanted = self.path.rpartition('/')[2], self.headers.get('Range')
        self.server.requests.append((name, wanted))
        content = self.server.archives.get(name)
        if content is None:
            return self.send_error(404)
        start = int(wanted[len('bytes=') : -1]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header('ETag', '"1"')
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        end = start + self.server.cut_after.pop(0) if self.server.cut_after else None
        if self.server.stall_after is not None:
            end = self.server.stall_after
        self.wfile.write(content[start:end])
        self.wfile.flush()
        if self.server.stall_after is not None:
            self.server.released.wait(20)
        return None

    def log_message(self, *args):
        pass


def zipped(members):
    """Return a zip archive of {name: bytes}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
