"""train.py with a fault in one of its processes.

mpirun -n 2 python tests/mpi_faults.py crash 1 -cfg CONFIG
"""

import hashlib
import os
import sys
import time
from pathlib import Path

import train
from common import command
from engine import lifeboat
from engine.inference.predictor import Predictor
from engine.runs import checkpoints
from engine.training.optimizer import Optimizer
from engine.training.trainer import Trainer

CALL = 3  # that does not return, of those that a fault makes slow
COMPUTATIONS = 2**31 - 1  # a quarter of an hour and more
SIGNS = 'FAULT_SIGNS'  # the folder of files in which a fault and its test tell each other things


def crash():
    """The third step fails by an error of the program."""
    step = Trainer.step

    def fails(self, *arguments):
        if self.iteration == 2:
            raise RuntimeError('a fault')
        return step(self, *arguments)

    Trainer.step = fails


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
    lifeboat.QUICK_SECONDS = -1  # as after an update that was long
    Optimizer.update = _and_then_compute(Optimizer.update)


def slow_disk():
    """The state is not written until there is the file ``write``, nor does the third step end."""
    endless_gradients()
    save = checkpoints.save

    def lingers(*arguments):
        while not (Path(os.environ[SIGNS]) / 'write').exists():
            time.sleep(0.02)
        save(*arguments)

    checkpoints.save = lingers


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
    if os.environ['OMPI_COMM_WORLD_RANK'] == rank:
        globals()[fault]()
    sys.exit(command.run(train.build_parser, train.main, options))
