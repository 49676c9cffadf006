"""Jobs end in bounded time, without remaining processes, whatever happens to one of their ranks."""

import os
import signal
import socket

import pytest

from support import mpi_jobs, programs
from support.mpi_jobs import TrainingRun

FAULTS, HANG = 'tests/support/mpi_faults.py', 'tests/support/mpi_hang.py'


@pytest.fixture
def training(tmp_path):
    return TrainingRun(tmp_path)


@programs.without_cuda
def test_mpirun_prints_little_about_a_mistake(training):
    """The mistake is reported once; mpirun adds only that the job has ended."""
    job = mpi_jobs.run(2, 'train.py', *training.options(), '-c', 'cudnn')
    assert job.returncode == 2
    opening, *lines = job.stderr.strip().splitlines()
    assert opening.startswith('opening folder train in ')
    assert lines[0].startswith('error: -c cudnn: nnabla-ext-cuda120 is not installed')
    assert 'MPI_ABORT' not in job.stderr
    assert len(lines) <= 8


def test_a_killed_rank_ends_the_job(training):
    with mpi_jobs.started(2, 'train.py', *training.options(workers=1)) as job:
        assert training.reaches(2, job)
        assert len(job.processes()) == 5  # mpirun, two ranks, two workers
        os.kill(job.rank(1), signal.SIGKILL)
        assert 'exited on\nsignal 9' in job.fails()


def test_a_mistake_of_a_single_rank_is_reported_by_it(training):
    """The mistake occurs before the processes have joined.

    A mistake of all ranks is reported by rank 0 alone.
    """
    with mpi_jobs.started(2, FAULTS, 'mistake', 1, *training.options()) as job:
        errors = job.fails()
    assert errors.count('error: ') == 1
    assert f'error: only here (rank 1 on {socket.gethostname()})' in errors
    with mpi_jobs.started(2, 'train.py', '--bogus') as job:
        errors = job.fails()
    assert errors.count('error: ') == 1
    assert 'rank' not in errors.split('error: ')[1].splitlines()[0]


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_hangs_ends_the_job(rank):
    with mpi_jobs.started(2, HANG, rank, 2) as job:
        errors = job.fails()
    assert errors.count('error: no progress for 2 seconds since iteration 3: ') == 1


def test_a_rank_that_hangs_ends_the_training(training):
    timeout = 6
    with mpi_jobs.started(2, 'train.py', *training.options('--timeout', timeout)) as job:
        assert training.reaches(2, job)
        os.kill(job.rank(0), signal.SIGSTOP)
        errors = job.fails()
    assert errors.count(f'error: no progress for {timeout} seconds since iteration') == 1
    assert '--resume' in errors


@pytest.mark.parametrize('rank', [0, pytest.param(1, marks=pytest.mark.whole_registry)])
def test_a_signal_during_validation_ends_the_job(training, rank):
    """While one rank validates, the other waits in MPI, where no signal handler can run."""
    options = training.options(val_interval=2, save_interval=2)
    with mpi_jobs.started(2, FAULTS, 'linger', rank, *options) as job:
        assert mpi_jobs.wait_for((training.path / 'model_param_00000002.h5').exists)
        job.mpirun.send_signal(signal.SIGUSR1)
        job.fails()
    assert training.state().iteration == 2
