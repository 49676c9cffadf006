"""What mpirun or Slurm says of this process in environment variables."""

from __future__ import annotations  # so that an older Python can import this module

import os

OPEN_MPI = 'OMPI_COMM_WORLD_SIZE'  # which Open MPI's mpirun sets, and no other launcher
# In which Open MPI, others and Slurm tell a process how many they have started and its number among
# them. The first pair holds: mpirun may have been started by another of them.
LAUNCHERS = {
    OPEN_MPI: 'OMPI_COMM_WORLD_RANK',
    'PMI_SIZE': 'PMI_RANK',
    'MV2_COMM_WORLD_SIZE': 'MV2_COMM_WORLD_RANK',
    'SLURM_STEP_NUM_TASKS': 'SLURM_PROCID',
}
# Where a launcher says which of its processes on one machine this is.
LOCAL_RANKS = (
    'OMPI_COMM_WORLD_LOCAL_RANK',
    'MPI_LOCALRANKID',
    'MV2_COMM_WORLD_LOCAL_RANK',
    'SLURM_LOCALID',
)
# How many processes of a job run on this machine, as Open MPI, MPICH and Slurm say it.
LOCAL_SIZES = 'OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS', 'SLURM_NTASKS_PER_NODE'
# How the names of the variables begin that launchers set, the ones above and those by which a
# process finds the others of its job.
PREFIXES = ('OMPI_', 'PMIX_', 'PRTE_', 'PMI_', 'MPI_LOCAL', 'MV2_COMM_WORLD_', 'SLURM_')
COURTESY_SECONDS = 1.5  # for which other ranks let rank 0 speak first


def launcher() -> str | None:
    """Return the variable in which a launcher says how many processes it has started; None when
    none has.
    """
    return next((name for name in LAUNCHERS if name in os.environ), None)


def launched_rank() -> int:
    """Return this process's number, as its launcher says, before MPI is known to work; 0 without
    one.
    """
    name = launcher()
    return int(os.environ.get(LAUNCHERS[name], 0)) if name else 0


def launched_local_rank() -> int:
    """Return this process's number among those of its machine, as its launcher says; 0 without
    one.
    """
    if launcher() is None:
        return 0
    return int(next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), 0))


def launched_local_size() -> int:
    """Return how many processes of the job run on this machine; 1 where no launcher says so."""
    for name in LOCAL_SIZES:
        if os.environ.get(name, '').isdigit():
            return max(1, int(os.environ[name]))
    return 1


def started_by_open_mpi() -> bool:
    """Return whether Open MPI's mpirun has started this process."""
    return OPEN_MPI in os.environ


def environment_of_one() -> dict[str, str]:
    """Return the environment variables without a launcher's: for a child process that must not
    take itself for one of the job's.
    """
    return {name: v for name, v in os.environ.items() if not name.startswith(PREFIXES)}
