"""train.py with a fault in one of its processes.

mpirun -n 2 python tests/mpi_faults.py crash 1 -cfg CONFIG
"""

import os
import sys
import time

import command
import train
from engine.evaluator import Evaluator
from engine.trainer import Trainer


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


if __name__ == '__main__':
    fault, rank, *options = sys.argv[1:]
    if os.environ['OMPI_COMM_WORLD_RANK'] == rank:
        globals()[fault]()
    sys.exit(command.run(train.build_parser, train.main, options))
