"""Run the HTTP server in a thread of the test process, and send requests to it."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.serve import hosts
from engine.serve.catalogue import Catalogue
from engine.serve.server import create_server, set_up_log
from engine.serve.settings import AccessSettings, LimitSettings, ServeSettings
from support.tiny_config import write_tiny_config

BOUNDARY = 'boundary-of-the-tests'
HANG_SECONDS = 60
POLLING_SECONDS = 0.01


class Answer:
    """The answer to a request: ``status``, ``headers`` and ``body``."""

    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        """The JSON of the body."""
        assert self.headers['Content-Type'] == 'application/json', self.headers
        return json.loads(self.body)

    @property
    def error(self):
        """The one line that refuses the request."""
        (line,) = self.json.values()
        assert list(self.json) == ['error'] and line.isprintable()
        return line


class ServedModel:
    """A running server.

    Attributes:
        listener: Its socket.
        port: Its port.
        server: The server, of uvicorn.
        catalogue: Its models.
    """

    def __init__(self, server, catalogue, listener):
        self.server, self.catalogue, self.listener = server, catalogue, listener
        self.port = listener.getsockname()[1]

    def request(self, method, path, body=None, headers=()):
        """Send one request on a connection of its own and return its :class:`Answer`."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=HANG_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def wait_for_workers(self):
        """Wait until no request is worked on, also of clients that have gone away meanwhile.

        A thread that still computes has NNabla's context, which then nobody else can set.
        """
        self.get('/health')  # is answered after the connections that came before were accepted
        state, workers = self.server.server_state, self.server.workers
        # In the order in which a request goes through them
        _wait_while(lambda: state.connections or state.tasks or workers.waiting or workers.running)

    def get(self, path, **headers):
        """Send a GET request."""
        return self.request('GET', path, headers=_spelled(headers))

    def segment(self, data, query='', name='photo.png', **headers):
        """Upload a file as the field ``image``."""
        return self.upload(('image', name, data), query=query, **headers)

    def upload(self, *parts, query='', **headers):
        """Upload parts of a body, see :func:`multipart`."""
        return self.request(
            'POST', f'/segment{query}', multipart(*parts), {**MULTIPART_HEADER, **_spelled(headers)}
        )


MULTIPART_HEADER = {'Content-Type': f'multipart/form-data; boundary={BOUNDARY}'}


def _spelled(headers):
    return {name.replace('_', '-'): value for name, value in headers.items()}


def multipart(*parts):
    """Return a multipart body.

    Args:
        *parts: Name of the field, name of the file or None for a text, and the bytes of each.
    """
    lines = []
    for field, name, data in parts:
        file = '' if name is None else f'; filename="{name}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
        lines += [head.encode(), data, b'\r\n']
    return b''.join([*lines, f'--{BOUNDARY}--\r\n'.encode()])


def tiny_settings(folder, limits=None, access=None, **keys):
    """Write a tiny network and return the settings of a server for it.

    Args:
        folder: A folder for the files of the network, which is also offered by the server.
        limits: Limits of the server.
        access: Who may use it; its port is replaced by a free one.
        **keys: Further keys of the config.
    """
    config = write_tiny_config(folder, 'camvid', 11, **keys)
    return ServeSettings(
        config=ConfigSettings(config_file=str(config), overrides=()),
        access=replace(access or AccessSettings(), port=0),
        limits=limits or LimitSettings(),
        device=DeviceSettings(context='cpu'),
    )


@contextmanager
def serving(settings, folder):
    """Serve in a thread; yields the :class:`ServedModel`.

    Args:
        settings: Settings of the server.
        folder: Folder of the configs that it offers.
    """
    set_up_log()
    with hosts.bind(settings.access) as listener:
        catalogue = Catalogue(settings, folder)
        server = create_server(settings, catalogue, listener)
        hosts.listen(listener, settings.access)
        loops = []

        async def run():
            loops.append(asyncio.get_running_loop())
            await server.serve([listener])

        thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
        thread.start()
        try:
            yield ServedModel(server, catalogue, listener)
        finally:
            loops[0].call_soon_threadsafe(server.stop)
            thread.join(HANG_SECONDS)
            assert not thread.is_alive()
            # A computation can outlast the time limit, and with it the server.
            _wait_while(lambda: server.workers.running)


def _wait_while(condition):
    end = time.monotonic() + HANG_SECONDS
    while condition():
        assert time.monotonic() < end, 'the server still works on a request'
        time.sleep(POLLING_SECONDS)
