"""Environment variables in which mpirun or Slurm describes a process of its job."""

from __future__ import annotations  # lets an older Python import this module

import os

OPEN_MPI_SIZE = 'OMPI_COMM_WORLD_SIZE'  # set by Open MPI's mpirun and by no other launcher
# Variable with the number of processes -> variable with this process's rank, of Open MPI, other MPI
# libraries and Slurm. The first pair that is set counts: mpirun may run inside another launcher.
RANK_VARIABLES = {
    OPEN_MPI_SIZE: 'OMPI_COMM_WORLD_RANK',
    'PMI_SIZE': 'PMI_RANK',
    'MV2_COMM_WORLD_SIZE': 'MV2_COMM_WORLD_RANK',
    'SLURM_STEP_NUM_TASKS': 'SLURM_PROCID',
}
# Variables with the rank of a process among those of its machine.
LOCAL_RANK_VARIABLES = (
    'OMPI_COMM_WORLD_LOCAL_RANK',
    'MPI_LOCALRANKID',
    'MV2_COMM_WORLD_LOCAL_RANK',
    'SLURM_LOCALID',
)
# Variables of Open MPI, MPICH and Slurm with the number of the job's processes on this machine.
LOCAL_SIZE_VARIABLES = 'OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS', 'SLURM_NTASKS_PER_NODE'
# Prefixes of all variables that launchers set: of those above, and of those by which a process
# connects to the other processes of its job.
VARIABLE_PREFIXES = ('OMPI_', 'PMIX_', 'PRTE_', 'PMI_', 'MPI_LOCAL', 'MV2_COMM_WORLD_', 'SLURM_')
RANK_0_HEAD_START_SECONDS = 1.5  # how long other ranks wait before they report an error


def launcher() -> str | None:
    """Return the name of the variable with the number of processes; None without a launcher."""
    return next((name for name in RANK_VARIABLES if name in os.environ), None)


def launched_rank() -> int:
    """Return this process's rank from the environment, without MPI; 0 without a launcher."""
    name = launcher()
    return int(os.environ.get(RANK_VARIABLES[name], 0)) if name else 0


def launched_local_rank() -> int:
    """Return this process's rank on its machine from the environment; 0 without a launcher."""
    if launcher() is None:
        return 0
    return int(next((os.environ[name] for name in LOCAL_RANK_VARIABLES if name in os.environ), 0))


def launched_local_size() -> int:
    """Return the number of the job's processes on this machine; 1 if no launcher states it."""
    for name in LOCAL_SIZE_VARIABLES:
        if os.environ.get(name, '').isdigit():
            return max(1, int(os.environ[name]))
    return 1


def started_by_open_mpi() -> bool:
    """Return whether Open MPI's mpirun started this process."""
    return OPEN_MPI_SIZE in os.environ


def environment_without_launcher() -> dict[str, str]:
    """Return the environment without the launcher's variables.

    A child process started with it does not join the job as a rank.
    """
    return {name: v for name, v in os.environ.items() if not name.startswith(VARIABLE_PREFIXES)}
