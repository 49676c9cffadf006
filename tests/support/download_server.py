"""A local HTTP server of one file, with the faults that a download must survive."""

import http.server
import threading


class DownloadServer(http.server.ThreadingHTTPServer):
    """Serve ``content`` under any path; attributes switch faults on.

    Attributes:
        content: the bytes of the file.
        tag: the ETag of the responses; None sends none.
        cut_after: bytes after which the server cuts one response each.
        stall_after: bytes after which the server stops sending; None for never.
        missing: answer 404.
        resumable: honour the Range header.
        tells_length: send the file's length when a Range starts beyond its end.
        ranges: the Range header of every request, None where it is absent.
        released: ends all stalls when set.
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
        """The base address, with a slash at the end."""
        return f'http://127.0.0.1:{self.server_address[1]}/weights/'


class _Handler(http.server.BaseHTTPRequestHandler):
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
