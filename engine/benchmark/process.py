"""A contestant's process: its memory is its own, and it stays warm between its turns."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from command import LOG, UserError


class Process:
    """A fresh Python that runs one function after the other.

    advice: what to do when it dies.
    """

    def __init__(self, name: str, advice: str = 'try a smaller --size'):
        self._name, self._advice = name, advice
        self._pool = ProcessPoolExecutor(
            1,
            multiprocessing.get_context('spawn'),
            initializer=_quiet,
        )

    def ask(self, function, *arguments):
        """What ``function`` returns there; raises ``UserError`` when the process dies."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise UserError(
                f'{self._name}: the process has died, perhaps for want of memory; {self._advice}'
            ) from error

    def close(self):
        self._pool.shutdown()


def _quiet():
    for name in ('nnabla', LOG.name):
        logging.getLogger(name).setLevel(logging.WARNING)
