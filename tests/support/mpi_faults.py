"""train.py with a fault in one of its processes, or in all.

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

CALL = 3  # that does not return, of those that a fault makes slow
COMPUTATIONS = 2**31 - 1  # a quarter of an hour and more
SIGNS = 'FAULT_SIGNS'  # the folder of files in which a fault and its test tell each other things
ALL = 'all'  # in place of a rank


def crash():
    """The third step fails by an error of the program, between forward and backward pass."""
    backward_of = communicators.MpiCommunicator.backward_of

    def failing(self, loss, parameters):
        backward, calls = backward_of(self, loss, parameters), count(1)

        def fails(gradient):
            if next(calls) == CALL:
                raise RuntimeError('a fault')
            backward(gradient)

        return fails

    communicators.MpiCommunicator.backward_of = failing


def mistake():
    """Something is wrong before the processes have joined."""

    def main(args):
        raise command.UserError('only here')

    train.main = main


def linger():
    """Validation takes its time in the main thread, where signals reach it."""
    labels = Predictor.labels

    def slow(self, *arguments):
        print('validating', file=sys.stderr, flush=True)
        for _ in range(600):
            time.sleep(0.1)
        return labels(self, *arguments)

    Predictor.labels = slow


def endless_gradients():
    """What comes before the third update computes for ever, in C, where no handler of a signal
    runs; the file ``computing`` tells when.
    """
    Optimizer.zero_grad = _and_then_compute(Optimizer.zero_grad)


def endless_update():
    """The third update computes for ever; what it has changed by then is no state of any
    iteration.
    """
    Optimizer.update = _and_then_compute(Optimizer.update)


def _and_then_compute(method):
    calls = []

    def endless(self, *arguments):
        method(self, *arguments)
        calls.append(arguments)
        if len(calls) == CALL:
            (Path(os.environ[SIGNS]) / 'computing').touch()
            hashlib.pbkdf2_hmac('sha256', b'', b'', COMPUTATIONS)

    return endless


if __name__ == '__main__':
    fault, rank, *options = sys.argv[1:]
    if rank in (ALL, os.environ['OMPI_COMM_WORLD_RANK']):
        globals()[fault]()
    sys.exit(command.run_command(train.build_parser, train.main, options))
