"""train.py with a fault in one of its processes.

mpirun -n 2 python tests/mpi_faults.py crash 1 -cfg CONFIG
"""

import hashlib
import os
import sys
import time

import command
import train
from engine import checkpoints
from engine.evaluator import Evaluator
from engine.solvers import Optimizer
from engine.trainer import Trainer

COMPUTATIONS = 5_000_000  # about two seconds


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
    """Validation takes its time, where signals reach it."""
    process = Evaluator.process

    def slow(self, *arguments):
        print('validating', file=sys.stderr, flush=True)
        for _ in range(600):
            time.sleep(0.1)
        process(self, *arguments)

    Evaluator.process = slow


def slow_gradients():
    """What comes before the update takes seconds, in C, where no handler of a signal runs."""
    Optimizer.zero_grad = _and_then_compute(Optimizer.zero_grad)


def slow_update():
    """The update takes seconds; what it has changed by then is no state of any iteration."""
    Optimizer.update = _and_then_compute(Optimizer.update)


def slow_disk():
    """The state takes longer to save than mpirun waits, and the steps as well."""
    slow_gradients()
    save = checkpoints.save

    def lingers(*arguments):
        time.sleep(5)
        save(*arguments)

    checkpoints.save = lingers


def _and_then_compute(method):
    def slow(self, *arguments):
        method(self, *arguments)
        hashlib.pbkdf2_hmac('sha256', b'', b'', COMPUTATIONS)

    return slow


if __name__ == '__main__':
    fault, rank, *options = sys.argv[1:]
    if os.environ['OMPI_COMM_WORLD_RANK'] == rank:
        globals()[fault]()
    sys.exit(command.run(train.build_parser, train.main, options))
