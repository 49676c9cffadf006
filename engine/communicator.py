"""The processes that mpirun has started, and what they tell each other."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from command import LOG, MISUSED, UserError

SIZE_VARIABLE, LOCAL_RANK_VARIABLE = 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'
COURTESY_SECONDS = 1.5  # for which other ranks let rank 0 speak first
FORWARDING_SECONDS = 0.5  # for which mpirun has time to pass a message on before it ends us


class Processes:
    """One process alone, or rank ``rank`` of ``size`` of an MPI job.

    local_rank: the number of the process on its machine, which is that of its GPU. mpi: mpi4py's
    communicator of all processes, None for one alone.
    """

    nnabla = None  # what d3net.build.Build.communicator needs: sums over hosts go through MPI

    def __init__(self, mpi=None):
        self.mpi = mpi.COMM_WORLD if mpi else None
        self.rank = mpi.COMM_WORLD.rank if mpi else 0
        self.size = mpi.COMM_WORLD.size if mpi else 1
        self.local_rank = int(os.environ.get(LOCAL_RANK_VARIABLE, 0)) if mpi else 0

    def shard(self, count: int) -> range:
        """The numbers below ``count`` that are this process's: each belongs to one process."""
        return range(self.rank, count, self.size)

    def total(self, array: np.ndarray) -> np.ndarray:
        """The sum of ``array`` over all processes, on all of them; exact for integers."""
        if self.size == 1:
            return array
        result = np.empty_like(array)
        self.mpi.Allreduce(np.ascontiguousarray(array), result)
        return result

    def gather(self, value) -> list:
        """``value`` of every process, in the order of ranks, on all of them."""
        return [value] if self.size == 1 else self.mpi.allgather(value)

    def end_job(self, message: str):
        """End all processes of the job with a line on standard error; does not return."""
        if self.rank:
            time.sleep(COURTESY_SECONDS)  # what all ranks have to say is said once
        print(f'error: {message}', file=sys.stderr, flush=True)
        time.sleep(FORWARDING_SECONDS)
        if self.mpi is not None:
            self.mpi.Abort(MISUSED)
        os._exit(MISUSED)

    def __str__(self):
        return f'rank {self.rank} on {socket.gethostname()}'


@contextmanager
def joined() -> Iterator[Processes]:
    """All processes of the job; an error in one of them ends all, with one line.

    Messages of ranks other than 0 are shown from warnings on. Raises ``UserError`` when mpirun has
    started several processes that cannot find each other: they would all do the same work.
    """
    count = int(os.environ.get(SIZE_VARIABLE, 1))
    if count == 1:
        yield Processes()
        return
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise UserError(
            f'mpirun has started {count} processes, but mpi4py cannot be imported ({error}): '
            'python -m pip install -r requirements.txt'
        ) from error
    processes = Processes(MPI)
    if processes.size != count:
        raise UserError(
            f'mpirun has started {count} processes, but mpi4py sees {processes.size}: they are of '
            'different MPI installations; use the mpirun beside this python'
        )
    if processes.rank:
        LOG.setLevel('WARNING')
    try:
        yield processes
    except Exception as error:
        if isinstance(error, UserError):
            processes.end_job(str(error))
        if processes.rank:
            time.sleep(COURTESY_SECONDS)
        traceback.print_exc()
        time.sleep(FORWARDING_SECONDS)
        MPI.COMM_WORLD.Abort(MISUSED)  # the others wait for this rank, and would do so for ever
