"""Map a function over the samples of a data set in worker processes, in order."""

import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, TypeVar

from common import once
from common.errors import UserError
from common.log import LOG
from common.terminal.progress import ProgressBar
from common.worker import become_worker

Samples = TypeVar('Samples', bound=Sequence[Any])
Result = TypeVar('Result')
MANY_FILES = 100  # reading so many takes seconds

# The data set of a worker process: it is pickled once per worker, not once per sample.
_dataset: Any = None


def map_samples(
    dataset: Samples,
    function: Callable[[Samples, int], Result],
    processes: int,
    title: str,
) -> Iterator[Result]:
    """Yield ``function(dataset, index)`` for each sample in order, with a progress bar.

    The progress bar appears on terminals only. A line precedes it if there are ``MANY_FILES``.

    Args:
        dataset: A sequence that can be pickled.
        function: Receives the data set and an index. It must be picklable if ``processes`` > 1.
            Its exceptions end the iteration and are raised to the caller.
        processes: Number of worker processes; 1 runs the function in the calling process.
        title: Label of the progress bar: what is done to the files.

    Raises:
        UserError: A worker process was killed.
    """
    if len(dataset) >= MANY_FILES:
        LOG.info('%s %d files', title, len(dataset))
    with ProgressBar(desc=title, total=len(dataset), unit='file', disable=None, leave=False) as bar:
        results = (
            (function(dataset, index) for index in range(len(dataset)))
            if processes == 1
            else _in_processes(dataset, function, processes)
        )
        for result in results:
            bar.update()
            yield result


def _in_processes(
    dataset: Samples, function: Callable[[Samples, int], Result], processes: int
) -> Iterator[Result]:
    """Yield the results from a pool of worker processes."""
    pool = ProcessPoolExecutor(
        processes,
        # Forking a process with threads of OpenCV or NNabla can hang.
        multiprocessing.get_context('forkserver'),
        initializer=_start_worker,
        initargs=(dataset,),
    )
    try:
        chunk = min(16, 1 + len(dataset) // (8 * processes))
        call = partial(_call, function)
        with _hidden_main_program():  # the call starts the processes
            results = pool.map(call, range(len(dataset)), chunksize=chunk)
        for result, warnings in results:
            once.show(warnings)
            yield result
    except BrokenProcessPool as error:
        raise UserError(
            'a worker process was killed, probably for lack of memory; use fewer (--processes)'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _hidden_main_program() -> Iterator[None]:
    """Hide the main program from processes that start in the block.

    They would import it, and so run a script that has no ``if __name__ == '__main__'`` again, and
    fail for a program from standard input.
    """
    program = sys.modules['__main__']
    sys.modules['__main__'] = types.ModuleType('__main__')
    try:
        yield
    finally:
        sys.modules['__main__'] = program


def _start_worker(dataset: Sequence[Any]) -> None:
    """Set up a worker process: keep the data set, and exit when the parent exits."""
    global _dataset
    _dataset = dataset
    become_worker()
    parent = multiprocessing.parent_process()
    assert parent is not None  # the pool started this process
    threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def _exit_with_parent(sentinel: int) -> None:
    wait([sentinel])  # returns when the parent has exited or was killed
    os._exit(1)


def _call(function: Callable[[Any, int], Result], index: int) -> tuple[Result, once.Warnings]:
    return function(_dataset, index), once.take()
