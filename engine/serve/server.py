"""uvicorn's server with the project's start, stop and log."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from common.command import DONE
from common.log import LOG
from engine.serve import hosts
from engine.serve.app import create_app
from engine.serve.catalogue import Catalogue
from engine.serve.connections import Connection
from engine.serve.guards import DISCARDING_SECONDS
from engine.serve.settings import ServeSettings
from engine.serve.workers import Workers

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# For connections that are still open when all requests are answered; the rest of a refused body is
# discarded first.
CLOSING_SECONDS = DISCARDING_SECONDS + 1


class Server(uvicorn.Server):
    """A server that answers what it has begun before it stops.

    Args:
        app: The application.
        workers: Places and threads of the requests.
        models: Names of the models, the default one first.
    """

    def __init__(self, app: ASGIApp, workers: Workers, models: list[str]):
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws='none',
                loop='asyncio',
                lifespan='off',
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
        )
        self.workers, self._models = workers, models
        self._ending: asyncio.Task | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port and print where the page is."""
        await super().startup(sockets)
        (listener,) = sockets or []
        count = len(self._models) - 1
        others = f' and {count} other{"s" * (count != 1)}' if count else ''
        where = ' and '.join(hosts.urls(listener))
        print(f'serving {self._models[0]}{others} on {where} (stop with Ctrl-C)')
        sys.stdout.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal; in other threads than the main one, there are none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._stop_at_signal)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Refuse requests that wait, answer those that run, then close the port."""
        self.workers.stopping.set()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end())

    def _stop_at_signal(self) -> None:
        for number in SIGNALS:  # a second signal ends the process at once
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        self.stop()

    async def _end(self) -> None:
        await self.workers.idle()
        self.should_exit = True


class _ToProjectLog(logging.Handler):
    """Pass errors of libraries on to the project's logger, and what clients do wrong as details."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record of a library."""
        text = record.getMessage().strip()
        # The end of a request whose client was too slow for the stop of the server.
        cut_off = record.exc_info and record.exc_info[0] is asyncio.CancelledError
        if record.levelno >= logging.ERROR and not cut_off:
            LOG.error('error: %s', text, exc_info=record.exc_info)
        else:
            LOG.debug('%s', text)


def set_up_log() -> None:
    """Make uvicorn and the parser of bodies log through the project's logger."""
    for name in ('uvicorn', 'python_multipart'):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_ToProjectLog()], False


def create_server(settings: ServeSettings, catalogue: Catalogue, listener: socket.socket) -> Server:
    """Return the server of a catalogue of models.

    Args:
        settings: Settings of the server.
        catalogue: The models.
        listener: The socket that the server will listen on.
    """
    workers = Workers(settings.limits)
    local = hosts.is_loopback(listener.getsockname()[0])
    app = create_app(catalogue, workers, settings.limits, settings.access, only_local=local)
    if not local:
        LOG.warning(
            'everybody in the network of %s can use this server; --host 127.0.0.1 keeps it to '
            'this machine',
            settings.access.host,
        )
    return Server(app, workers, list(catalogue.entries))


def run_server(settings: ServeSettings) -> int:
    """Serve until a signal arrives.

    Returns:
        The exit status.

    Raises:
        UserError: The model or the address cannot be used.
    """
    set_up_log()
    with hosts.bind(settings.access) as listener:  # before the model is loaded, which takes long
        server = create_server(settings, Catalogue(settings), listener)
        hosts.listen(listener, settings.access)
        asyncio.run(server.serve([listener]))
    print('stopped')
    if server.workers.running:  # a thread that computes cannot be ended otherwise
        sys.stdout.flush()
        os._exit(DONE)
    return DONE
