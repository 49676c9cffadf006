"""Work on many images in several processes, as NNabla has one thread on the CPU.

Each process loads the network once and takes one item after the other; the first one only tells
what became of them. Nobody outlives it.
"""

import argparse
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import LOG, InputError, UserError
from d3net import graph
from datasets import image_files
from engine import pool_child
from engine.engines import machine, nnabla
from engine.model_options import Loaded
from engine.protocols import Protocol
from models import complexity

ITEMS = 8  # for which it pays to start a process
BASE = 250 << 20  # bytes of a process without a network
PHOTO = (1080, 1920)  # the size that is assumed where none is known


@dataclass(frozen=True)
class Job:
    """What a process must know. arguments: the command line's. ``work(network, settings, item)``
    is a function that can be imported.
    """

    arguments: argparse.Namespace
    work: Callable[[Loaded, Any, Any], Any]
    settings: Any


def count(
    asked: int | None, network: Loaded, protocol: Protocol, items: int, images: Sequence[Path]
) -> int:
    """How many processes take part; 1: the first one alone.

    asked: by ``--processes``. images: those among the items. Raises ``UserError``.
    """
    alone = network.choice.name == 'cpu' and isinstance(network.predictor.engine, nnabla.Graphs)
    if asked is not None:
        if asked < 1:
            raise UserError(f'--processes must be at least 1, not {asked}')
        if asked > 1 and not alone:
            raise UserError(
                '--processes is for NNabla on the CPU (--engine nnabla -c cpu); all else uses the '
                'whole machine in one process'
            )
        return max(1, min(asked, items))
    wanted = min(machine.threads(), items // ITEMS) if alone else 1
    if wanted < 2:
        return 1
    return max(1, min(wanted, machine.free_memory() // needed_memory(network, protocol, images)))


def needed_memory(network: Loaded, protocol: Protocol, images: Sequence[Path]) -> int:
    """About how many bytes a process needs for the image of the largest file."""
    size = PHOTO
    if images:
        with suppress(InputError, OSError):  # told when its turn comes
            size = image_files.image_size(max(images, key=os.path.getsize))
    views = [protocol.window] if protocol.window else protocol.views(*size)
    model = network.predictor.network
    view = complexity.nearest_size(model.info, max(views, key=lambda view: view[0] * view[1]))
    outlined = complexity.outline(model, view)
    order = graph.functions(*outlined.outputs)
    windows = [f for f in order if f.info.type_name == 'Convolution' and f.inputs[1].shape[2] > 1]
    unfolded = max((_unfolded_bytes(f) for f in windows), default=0)
    return BASE + graph.peak_bytes(order, outlined.outputs) + unfolded


def _unfolded_bytes(convolution) -> int:
    """What NNabla unfolds the windows of a convolution into."""
    channels, output = convolution.inputs[0].shape[1], convolution.outputs[0].shape
    return graph.BYTES * channels * convolution.inputs[1].shape[2] ** 2 * output[2] * output[3]


def spread(
    items: Sequence,
    job: Job,
    processes: int,
    alone: Callable[[Sequence], Iterator],
) -> Iterator:
    """What the job's work returns for each item, in order; an exception in it is raised here.

    When a process is killed, such as for want of memory, ``alone`` does what is left in this one.
    After Ctrl-C each process finishes its item.
    """
    pool = ProcessPoolExecutor(
        processes,
        # a fork of a process in which OpenCV or NNabla have threads can hang
        multiprocessing.get_context('forkserver'),
        initializer=pool_child.start,
        initargs=(pickle.dumps(job),),  # which imports NNabla where it is unpacked
    )
    done = 0
    try:
        for result in pool.map(pool_child.work, items):
            yield result
            done += 1
        return
    except BrokenProcessPool:
        LOG.warning(
            'a process was killed, perhaps for want of memory; going on with one (--processes 1)'
        )
    finally:
        pool.shutdown(cancel_futures=True)
    yield from alone(items[done:])
