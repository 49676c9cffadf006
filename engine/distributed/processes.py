"""The processes of an MPI job: ranks, collective operations, and a clean end of the job."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from common.command import INTERRUPTED, USER_ERROR
from common.errors import UserError
from common.launcher import RANK_0_HEAD_START_SECONDS, launcher, started_by_open_mpi
from common.log import LOG
from engine.device import libraries

OUTPUT_FORWARDING_SECONDS = 0.5  # time for mpirun to forward a message before this process ends
ERROR_REPORT_SECONDS = 10  # time for a failed process to end the job before the others do


class OtherProcessError(Exception):
    """Another process has failed; that process prints the error and ends the job."""


class Processes:
    """A single process, or one rank of an MPI job.

    Attributes:
        rank: Number of this process in the job.
        size: Number of processes in the job.
        local_rank: Number of this process on its machine, which is also the number of its GPU if
            several are visible.
        local_size: Number of processes on this machine.
        mpi: Communicator of mpi4py for all processes; None for a single process.
    """

    def __init__(self, mpi=None):
        self.mpi = mpi.COMM_WORLD if mpi else None
        self.rank = mpi.COMM_WORLD.rank if mpi else 0
        self.size = mpi.COMM_WORLD.size if mpi else 1
        self.local_rank, self.local_size = _place_on_machine(mpi) if mpi else (0, 1)

    def shard(self, count: int) -> range:
        """Return this process's share of the numbers below ``count``; the shares are disjoint."""
        return range(self.rank, count, self.size)

    def total(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of ``array`` over all processes, on every process; exact for integers."""
        if self.size == 1:
            return array
        result = np.empty_like(array)
        self.mpi.Allreduce(np.ascontiguousarray(array), result)
        return result

    def gather(self, value) -> list:
        """Return the ``value`` of every process in rank order, on every process."""
        return [value] if self.size == 1 else self.mpi.allgather(value)

    def end_job(self, message: str):
        """Print an error on standard error and end all processes; does not return."""
        who = f' ({self})' if self.rank else ''
        self.abort(USER_ERROR, f'error: {message}{who}')

    def abort(self, status: int, text: str = ''):
        """End all processes of the job at once; does not return.

        If only this process exited, the others would wait for it forever.

        Args:
            status: The exit status.
            text: A text to print on standard error; empty to print nothing.
        """
        if self.rank:
            time.sleep(RANK_0_HEAD_START_SECONDS)  # rank 0 reports an error that all ranks have
        with suppress(OSError):  # the job ends even if standard error is closed
            print(text, end='\n' if text else '', file=sys.stderr, flush=True)
        time.sleep(OUTPUT_FORWARDING_SECONDS)
        if self.mpi is not None and not started_by_open_mpi():
            self.mpi.Abort(status)
        os._exit(status)  # then mpirun ends the others and prints less than after MPI_Abort

    def abort_last(self, status: int):
        """Wait for the failed process to report its error and end the job, then end it from here.

        The method does not return. Most launchers end this process together with the failed one,
        while it waits.

        Args:
            status: The exit status.
        """
        time.sleep(ERROR_REPORT_SECONDS)
        self.abort(status)

    @contextmanager
    def log_on_rank_0(self) -> Iterator[None]:
        """Log only errors on ranks other than 0 inside the block; all ranks log the same there."""
        level = LOG.level
        if self.rank:
            LOG.setLevel('ERROR')
        try:
            yield
        finally:
            LOG.setLevel(level)

    def __str__(self):
        return f'rank {self.rank} on {socket.gethostname()}'


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes of the job; an error in one process ends all, with one message.

    Ranks other than 0 log warnings and errors only.

    Yields:
        The processes.

    Raises:
        UserError: The launcher started several processes that cannot connect, so each of them would
            do the whole work.
    """
    variable = launcher()
    count = int(os.environ[variable]) if variable else 1
    if count == 1:
        yield Processes()
        return
    started = f'{count} processes were started ({variable}), but'
    try:
        # Global symbols would break NNabla's CUDA extension.
        with libraries.import_flags(libraries.LOCAL):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no libmpi
        reason = ' '.join(str(error).split())
        raise UserError(
            f'{started} mpi4py cannot be imported ({reason}): python -m pip install -r '
            'requirements.txt'
        ) from error
    if count != MPI.COMM_WORLD.size:
        raise UserError(
            f'{started} mpi4py sees {MPI.COMM_WORLD.size}: the launcher belongs to another MPI; '
            'use the mpirun beside this python'
        )
    processes = Processes(MPI)
    if processes.rank:
        LOG.setLevel('WARNING')
    try:
        yield processes
    except KeyboardInterrupt:
        processes.abort(INTERRUPTED)
    except OtherProcessError:
        processes.abort_last(USER_ERROR)
    except UserError as error:
        processes.end_job(str(error))
    except Exception:
        processes.abort(USER_ERROR, traceback.format_exc().rstrip())


def _place_on_machine(mpi) -> tuple[int, int]:
    """Return this process's number on its machine, and the number of processes there."""
    own = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
    place = own.rank, own.size
    own.Free()
    return place
