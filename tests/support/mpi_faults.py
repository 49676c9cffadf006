"""Run train.py with a fault in one rank, or in all ranks.

mpirun -n 2 python tests/support/mpi_faults.py crash 1 -cfg CONFIG
"""

import hashlib
import os
import sys
import time
from itertools import count
from pathlib import Path

import train
from common import command
from engine.distributed import communicators
from engine.inference.predictor import Predictor
from engine.training.optimizer import Optimizer

FAULTY_CALL = 3  # the call, counted from 1, in which a fault takes effect
ENDLESS_ROUNDS = 2**31 - 1  # rounds of hashing, which take a quarter of an hour or more
NOTICES_FOLDER = 'FAULT_NOTICES'  # environment variable: the folder of files that notify the test
ALL = 'all'  # instead of a rank


def crash():
    """Raise an error in the third step, between the forward and the backward pass."""
    backward_of = communicators.MpiCommunicator.backward_of

    def failing(self, loss, parameters):
        backward, calls = backward_of(self, loss, parameters), count(1)

        def fails(gradient):
            if next(calls) == FAULTY_CALL:
                raise RuntimeError('a fault')
            backward(gradient)

        return fails

    communicators.MpiCommunicator.backward_of = failing


def mistake():
    """Raise a ``UserError`` before the processes have joined."""

    def main(args):
        raise command.UserError('only here')

    train.main = main


def linger():
    """Slow validation down in the main thread, so that signal handlers can run."""
    labels = Predictor.labels

    def slow(self, *arguments):
        print('validating', file=sys.stderr, flush=True)
        for _ in range(600):
            time.sleep(0.1)
        return labels(self, *arguments)

    Predictor.labels = slow


def endless_gradients():
    """Compute endlessly in C before the third update, where no signal handler can run.

    The file ``computing`` notifies the test.
    """
    Optimizer.zero_grad = _then_compute_endlessly(Optimizer.zero_grad)


def endless_update():
    """Compute endlessly in the third update, so that the weights match no finished iteration."""
    Optimizer.update = _then_compute_endlessly(Optimizer.update)


def _then_compute_endlessly(method):
    calls = []

    def endless(self, *arguments):
        method(self, *arguments)
        calls.append(arguments)
        if len(calls) == FAULTY_CALL:
            (Path(os.environ[NOTICES_FOLDER]) / 'computing').touch()
            hashlib.pbkdf2_hmac('sha256', b'', b'', ENDLESS_ROUNDS)

    return endless


if __name__ == '__main__':
    fault, rank, *options = sys.argv[1:]
    if rank in (ALL, os.environ['OMPI_COMM_WORLD_RANK']):
        globals()[fault]()
    sys.exit(command.run_command(train.build_parser, train.main, options))
