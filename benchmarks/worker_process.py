"""A worker process for one contestant, which keeps its models in memory between measurements.

Every contestant runs in a separate process, so that its memory can be measured. The worker exits
when its parent exits, even if the parent is killed.
"""

import logging
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from common import own_modules
from common.command import TERMINATED
from common.errors import UserError
from common.log import LOG
from common.terminal import streams

CONNECTION_LOST = EOFError, OSError  # raised when the other end of a connection is closed
EXIT_TIMEOUT_SECONDS = 10.0  # then the parent kills the worker, whose exit a library can block


class RemoteError(Exception):
    """Carries the worker's traceback, as the cause of the exception that the parent raises."""


class WorkerProcess:
    """A worker process that runs one function after the other."""

    def __init__(self, name: str, advice: str = 'try a smaller --size'):
        """Start the worker.

        Args:
            name: Name of the contestant, for error messages.
            advice: Remedy to name in the error message when the worker dies.
        """
        self._name, self._advice = name, advice
        fresh = multiprocessing.get_context('spawn')
        self._connection, child_end = fresh.Pipe()
        self._process = fresh.Process(target=_serve, args=(child_end, own_modules.imported()))
        self._process.start()
        child_end.close()

    def call(self, function, *arguments):
        """Call a function in the worker, and return its result or raise its exception.

        Args:
            function: A function that the worker can import.
            *arguments: Picklable arguments of the function.

        Raises:
            UserError: The worker process died.
        """
        try:
            self._connection.send((function, arguments))
            answer, error, remote_traceback = self._connection.recv()
        except CONNECTION_LOST as lost:
            raise UserError(
                f'{self._name}: the process died, perhaps for lack of memory; {self._advice}'
            ) from lost
        if error is not None:
            raise error from RemoteError(remote_traceback)
        return answer

    def close(self):
        """End the worker, even in the middle of a call."""
        self._connection.close()
        self._process.join(EXIT_TIMEOUT_SECONDS)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, modules: tuple[str, ...]):
    """Import the user's own modules, then run the parent's calls one after the other."""
    # The parent handles Ctrl-C and ends this worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ('nnabla', LOG.name):
        logging.getLogger(name).setLevel(logging.WARNING)
    calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_receive_calls, args=(connection, calls, busy), daemon=True).start()
    own_modules.import_modules(modules)
    with streams.guarded():
        _run_calls(connection, calls, busy)


def _run_calls(
    connection: Connection, calls: queue.SimpleQueue[bytes | None], busy: threading.Event
):
    """Run queued calls and send their results, until the parent has closed the connection."""
    reply: tuple[Any, Exception | None, str]
    while (pickled := calls.get()) is not None:
        try:
            function, arguments = pickle.loads(pickled)
            reply = function(*arguments), None, ''
        except Exception as error:
            remote_traceback = traceback.format_exc()
            reply = (
                None,
                error if _can_be_pickled(error) else RuntimeError(repr(error)),
                remote_traceback,
            )
        sys.stdout.flush()  # this output must precede the parent's next output
        busy.clear()
        with suppress(*CONNECTION_LOST):
            connection.send(reply)


def _can_be_pickled(error: Exception) -> bool:
    """Return whether the exception survives pickling and unpickling."""
    try:
        pickle.loads(pickle.dumps(error))
        return True
    except Exception:
        return False


def _receive_calls(connection: Connection, calls: queue.SimpleQueue, busy: threading.Event):
    """Queue the parent's calls; make the process exit when the parent has closed the connection.

    If a call is running, the process exits without waiting for it, since a call can take minutes.
    """
    with suppress(*CONNECTION_LOST):
        while True:
            pickled = connection.recv_bytes()
            busy.set()
            calls.put(pickled)
    if busy.is_set():
        os._exit(TERMINATED)
    calls.put(None)
