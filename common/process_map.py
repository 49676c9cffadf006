"""Work on all samples of a data set: in worker processes, in order, with a progress bar."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import cv2
from tqdm import tqdm

from common.errors import UserError

_dataset: Sequence | None = None  # of a worker process: pickled once for each, not once a sample


def over_samples(
    dataset: Sequence,
    function: Callable[[Sequence, int], Any],
    processes: int,
    title: str,
) -> Iterator[Any]:
    """``function(dataset, index)`` of every sample, in order, with a progress bar on terminals.

    More than one process work in parallel; function is then one that can be pickled. An exception
    in it ends the iteration. Raises ``UserError`` when a process is killed.
    """
    with tqdm(desc=title, total=len(dataset), unit='file', disable=None, leave=False) as bar:
        results = (
            (function(dataset, index) for index in range(len(dataset)))
            if processes == 1
            else _in_processes(dataset, function, processes)
        )
        for result in results:
            bar.update()
            yield result


def _in_processes(dataset, function, processes: int) -> Iterator[Any]:
    pool = ProcessPoolExecutor(
        processes,
        # a fork of a process in which OpenCV or NNabla have threads can hang
        multiprocessing.get_context('forkserver'),
        initializer=_start_worker,
        initargs=(dataset,),
    )
    try:
        chunk = min(16, 1 + len(dataset) // (8 * processes))
        yield from pool.map(partial(_call, function), range(len(dataset)), chunksize=chunk)
    except BrokenProcessPool as error:
        raise UserError(
            'a worker process was killed, perhaps for want of memory; try fewer with --processes'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(dataset: Sequence):
    """What a worker process needs: the data set, one thread, and to end when its parent does."""
    global _dataset
    _dataset = dataset
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int):
    wait([sentinel])  # until the parent is gone, killed perhaps
    os._exit(1)


def _call(function: Callable[[Sequence, int], Any], index: int) -> Any:
    return function(_dataset, index)
