"""The processes that mpirun has started, and what they tell each other."""

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

FORWARDING_SECONDS = 0.5  # for which mpirun has time to pass a message on before it ends us
LAST_SECONDS = 10  # for which the others leave the end of the job to a process that has an error


class OtherProcessError(Exception):
    """Another process has an error for which all leave their work; it prints the error and ends the
    job.
    """


class Processes:
    """One process alone, or rank ``rank`` of ``size`` of an MPI job.

    local_rank: the number of the process on its machine, which is that of its GPU; local_size: how
    many of them run there. mpi: mpi4py's communicator of all processes, None for one alone.
    """

    def __init__(self, mpi=None):
        self.mpi = mpi.COMM_WORLD if mpi else None
        self.rank = mpi.COMM_WORLD.rank if mpi else 0
        self.size = mpi.COMM_WORLD.size if mpi else 1
        self.local_rank, self.local_size = _place_on_machine(mpi) if mpi else (0, 1)

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
        who = f' ({self})' if self.rank else ''
        self.leave(USER_ERROR, f'error: {message}{who}')

    def leave(self, status: int, text: str = ''):
        """End all processes of the job, whatever they are doing, with a status and a text on
        standard error; does not return. The others would wait for ever for one that just ends.
        """
        if self.rank:
            time.sleep(RANK_0_HEAD_START_SECONDS)  # what all ranks have to say is said once
        with suppress(OSError):  # when nobody reads it any more, the job ends all the same
            print(text, end='\n' if text else '', file=sys.stderr, flush=True)
        time.sleep(FORWARDING_SECONDS)
        if self.mpi is not None and not started_by_open_mpi():
            self.mpi.Abort(status)
        os._exit(status)  # mpirun ends the others, with fewer lines than after an abort

    def leave_last(self, status: int):
        """End this process without a word; does not return. It waits for the one that prints an
        error, whose end is also this one's under most launchers.
        """
        time.sleep(LAST_SECONDS)
        self.leave(status)

    @contextmanager
    def in_unison(self) -> Iterator[None]:
        """What is logged inside is the same on all processes; rank 0 alone shows it."""
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
    """All processes of the job; an error in one of them ends all, with one line.

    Messages of ranks other than 0 are shown from warnings on. Raises ``UserError`` when mpirun has
    started several processes that cannot find each other: they would all do the same work.
    """
    variable = launcher()
    count = int(os.environ[variable]) if variable else 1
    if count == 1:
        yield Processes()
        return
    told = f'{count} processes have been started ({variable}), but'
    try:
        # Not global, whatever the program has set: it would get into NNabla's CUDA extension's way.
        with libraries.import_flags(libraries.LOCAL):
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no libmpi
        reason = ' '.join(str(error).split())
        raise UserError(
            f'{told} mpi4py cannot be imported ({reason}): python -m pip install -r '
            'requirements.txt'
        ) from error
    if count != MPI.COMM_WORLD.size:
        raise UserError(
            f'{told} mpi4py sees {MPI.COMM_WORLD.size}: what has started them is of another MPI; '
            'use the mpirun beside this python'
        )
    processes = Processes(MPI)
    if processes.rank:
        LOG.setLevel('WARNING')
    try:
        yield processes
    except KeyboardInterrupt:
        processes.leave(INTERRUPTED)
    except OtherProcessError:
        processes.leave_last(USER_ERROR)
    except UserError as error:
        processes.end_job(str(error))
    except Exception:
        processes.leave(USER_ERROR, traceback.format_exc().rstrip())


def _place_on_machine(mpi) -> tuple[int, int]:
    """The number of this process among those of its machine, and how many there are."""
    own = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
    place = own.rank, own.size
    own.Free()
    return place
