"""A local download server that can stall, cut off a response, change its file, or lack it."""

import http.server
import threading

import h5py


class DownloadServer(http.server.ThreadingHTTPServer):
    """An HTTP server that serves ``content`` under any path; attributes make it fail.

    Attributes:
        content: The bytes of the file.
        tag: The ETag header; None omits the header.
        cut_after: Numbers of bytes; each one cuts off one response after so many bytes.
        stall_after: Number of bytes after which the server stops sending; None disables stalls.
        missing: Whether every response is a 404.
        resumable: Whether the server supports range requests.
        tells_length: Whether a response 416 states the length.
        ranges: The Range header of every request.
        released: Event that a test sets at its end, so that stalled requests return.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.content, self.tag = content, '"1"'
        self.cut_after = []
        self.stall_after = None
        self.missing = False
        self.resumable = True
        self.tells_length = True
        self.ranges = []
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_address[1]}/weights/'


class _Handler(http.server.BaseHTTPRequestHandler):
    """The handler of the requests of a :class:`DownloadServer`."""

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
                self.send_response(416)
                if server.tells_length:
                    self.send_header('Content-Range', f'bytes */{len(server.content)}')
                return self.end_headers()
        self.send_response(206 if start else 200)
        if server.tag:
            self.send_header('ETag', server.tag)
        if start:
            total = len(server.content)
            self.send_header('Content-Range', f'bytes {start}-{total - 1}/{total}')
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


def hdf5_bytes(path, value):
    """Write an HDF5 file with one array and return its bytes."""
    with h5py.File(path, 'w') as file:
        file['a'] = value
    return path.read_bytes()
