"""A process of :mod:`engine.pool`."""

import argparse
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from multiprocessing.connection import wait

import cv2

from command import LOG, TERMINATED

NNABLA = {'engine': 'nnabla', 'threads': None}  # which auto has become
PATIENCE = 5.0  # seconds in which a process without a parent may finish its item

_job = _network = None  # of this process: an engine.pool.Job and its network


def start(pickled: bytes):
    """What a process needs before its first item: a job, silence, and to end when its parent
    does.
    """
    global _job
    LOG.setLevel(logging.ERROR)  # the first process has said it all
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first one, which ends us
    signal.signal(signal.SIGTERM, _leave)
    parent = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _job = pickle.loads(pickled)


def _leave(*_):
    raise SystemExit(TERMINATED)  # temporary files are removed on the way


def _end_with(sentinel: int):
    wait([sentinel])  # until the parent is gone, killed perhaps
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(TERMINATED)


def work(item):
    """What the job makes of an item."""
    global _network
    try:
        if _network is None:
            _network = _load(_job.arguments)
        return _job.work(_network, _job.settings, item)
    except SystemExit:
        os._exit(TERMINATED)


def _load(arguments: argparse.Namespace):
    from engine import config as configs
    from engine import model_options

    args = argparse.Namespace(**vars(arguments) | NNABLA)
    return model_options.load(args, configs.load(args.config_file, args.set))
