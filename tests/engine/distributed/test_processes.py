"""Processes of an MPI job find each other, or the job is refused."""

import pytest

from engine.distributed.processes import Processes
from support import mpi_jobs, programs
from support.mpi_jobs import TrainingRun

# Prints the error that train.py would print, without the imports of train.py.
JOIN = """
import sys
from common.errors import UserError
from engine.distributed.processes import joined

try:
    with joined() as processes:
        print(processes.local_rank, processes.local_size, flush=True)
except UserError as error:
    sys.exit(f'error: {error}')
"""


def test_processes_know_how_many_share_their_machine():
    """All processes of this job run on one machine."""
    job = mpi_jobs.run(3, '-c', JOIN)
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.split('\n')) == ['', '0 3', '1 3', '2 3']
    assert (Processes().local_rank, Processes().local_size) == (0, 1)


def test_processes_that_do_not_find_each_other_are_refused(tmp_path):
    """Started by the launcher of another MPI, each would train alone, into the same folder."""
    training = TrainingRun(tmp_path)
    process = programs.run('train.py', *training.options(), OMPI_COMM_WORLD_SIZE='2')
    line = programs.error_line(process)
    assert 'OMPI_COMM_WORLD_SIZE' in line
    assert 'mpi4py sees 1' in line
    assert not training.path.exists()


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        ({'SLURM_STEP_NUM_TASKS': '2'}, '(SLURM_STEP_NUM_TASKS), but mpi4py sees 1'),
        (
            {'OMPI_COMM_WORLD_SIZE': '2', 'MPI4PY_LIBMPI': '/no/such/library.so'},
            'mpi4py cannot be imported',
        ),
        (
            {'OMPI_COMM_WORLD_SIZE': '2', 'PYTHONPATH': 'without mpi4py'},
            'mpi4py cannot be imported (cannot be loaded)',
        ),
    ],
    ids=['slurm', 'no libmpi', 'no mpi4py'],
)
def test_several_processes_without_a_common_mpi_are_refused(variables, message, tmp_path):
    if 'PYTHONPATH' in variables:
        (tmp_path / 'mpi4py.py').write_text('raise ImportError("cannot be loaded")')
        variables = {**variables, 'PYTHONPATH': str(tmp_path)}
    line = programs.error_line(programs.run('-c', JOIN, **variables), status=1)
    assert message in line
