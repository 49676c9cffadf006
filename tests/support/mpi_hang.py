"""A small MPI job in which one rank stops for good at the third step.

    mpirun -n 2 python tests/support/mpi_hang.py RANK SECONDS

SECONDS is the timeout of the watchdog.
"""

import os
import signal
import sys

from engine.distributed.processes import joined
from engine.distributed.watchdog import Watchdog

LAST_STEP = 3


def main():
    """Synchronise the ranks after each step, until one of them stops."""
    stopping, seconds = int(sys.argv[1]), float(sys.argv[2])
    with joined() as processes, Watchdog(seconds, processes.end_job) as watchdog:
        for step in range(1, LAST_STEP + 2):
            processes.gather(step)
            watchdog.note_progress(f'iteration {step}')
            if step == LAST_STEP and processes.rank == stopping:
                os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == '__main__':
    main()
