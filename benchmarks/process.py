"""A contestant's process: its memory is its own, it stays warm between its turns, and it ends when
the process that started it does, however that one ends.
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

from common.command import TERMINATED
from common.errors import UserError
from common.log import LOG

GONE = EOFError, OSError  # what a connection raises when there is nobody at its other end
PATIENCE = 10.0  # seconds in which a process ends by itself, unless a library does not let it


class RemoteError(Exception):
    """The traceback of an exception in a contestant's process, of which it is the cause here."""


class Process:
    """A fresh Python that runs one function after the other.

    advice: what to do when it dies.
    """

    def __init__(self, name: str, advice: str = 'try a smaller --size'):
        self._name, self._advice = name, advice
        fresh = multiprocessing.get_context('spawn')
        self._connection, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()

    def ask(self, function, *arguments):
        """What ``function``, which can be imported, returns there; an exception is raised here.

        Raises ``UserError`` when the process dies.
        """
        try:
            self._connection.send((function, arguments))
            answer, error, told = self._connection.recv()
        except GONE as gone:
            raise UserError(
                f'{self._name}: the process has died, perhaps for want of memory; {self._advice}'
            ) from gone
        if error is not None:
            raise error from RemoteError(told)
        return answer

    def close(self):
        """End the process, whatever it is doing."""
        self._connection.close()
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()


def _serve(connection: Connection):
    """Answer what is asked, one after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the one that asks, which ends us
    for name in ('nnabla', LOG.name):
        logging.getLogger(name).setLevel(logging.WARNING)
    asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()
    reply: tuple[Any, Exception | None, str]
    threading.Thread(target=_listen, args=(connection, asked, busy), daemon=True).start()
    while (pickled := asked.get()) is not None:
        try:
            function, arguments = pickle.loads(pickled)
            reply = function(*arguments), None, ''
        except Exception as error:
            told = traceback.format_exc()
            reply = None, error if _travels(error) else RuntimeError(repr(error)), told
        sys.stdout.flush()  # so that what is printed here comes before what the asker prints next
        busy.clear()
        with suppress(*GONE):
            connection.send(reply)


def _travels(error: Exception) -> bool:
    """Whether the asker gets what is sent."""
    try:
        pickle.loads(pickle.dumps(error))
        return True
    except Exception:
        return False


def _listen(connection: Connection, asked: queue.SimpleQueue, busy: threading.Event):
    """Pass on what is asked. When nobody can ask any more, the process ends: in the middle of what
    it is doing, which may take minutes.
    """
    with suppress(*GONE):
        while True:
            pickled = connection.recv_bytes()
            busy.set()
            asked.put(pickled)
    if busy.is_set():
        os._exit(TERMINATED)
    asked.put(None)
