"""A job that a fault, a signal or SIGKILL has ended resumes to the very same bits.

One run is ended and resumed several times and then compared with an uninterrupted run.
"""

import random
import signal
import socket

import numpy as np
import pytest

from datasets.loading.sampler import Sampler, SamplerState
from engine.runs import checkpoints
from support import mpi_jobs
from support.mpi_jobs import TrainingRun

FAULTS = 'tests/support/mpi_faults.py'
IMAGES = 16  # of the data set
CONFIG = dict(max_iter=24, save_interval=8, val_interval=12)


@pytest.fixture
def training(tmp_path):
    return TrainingRun(tmp_path)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory) -> checkpoints.TrainingState:
    """The last state of an uninterrupted run of two processes."""
    whole = TrainingRun(tmp_path_factory.mktemp('whole'))
    process = mpi_jobs.run(2, 'train.py', *whole.options(**CONFIG))
    assert process.returncode == 0, process.stderr
    return whole.state()


def assert_resumes_to(training, expected):
    """Resume a run to its end and compare the bits of its state."""
    process = mpi_jobs.run(2, 'train.py', *training.options('--resume', **CONFIG))
    assert process.returncode == 0, process.stderr
    state = training.state()
    assert state.iteration == expected.iteration
    for name in ('parameters', 'solver'):
        mine, theirs = getattr(state, name), getattr(expected, name)
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[key], theirs[key]) for key in theirs), name


def sample_of(rank, step) -> str:
    """Return the file that one of two ranks loads for a step, counted from 1."""
    names = sorted(f'{number}.png' for number in range(IMAGES))
    order, state = Sampler(IMAGES, 1, 0, rank=rank, ranks=2), SamplerState()
    for _ in range(step):
        _, ((_, index),), state = order.next_batch(state)
    return names[index]


def end_by_unreadable_images(training, ranks, step):
    """Damage the images of ranks in a step; the job ends after the step before, which is saved."""
    images = [training.data / 'images' / 'train' / sample_of(rank, step) for rank in ranks]
    good = [image.read_bytes() for image in images]
    for image in images:
        image.write_bytes(b'not a picture')
    with mpi_jobs.started(2, 'train.py', *training.options('--resume', workers=1, **CONFIG)) as job:
        errors = job.fails()
    assert 'Traceback' not in errors
    (line,) = [line for line in errors.splitlines() if 'error: ' in line]
    assert str(images[0]) in line
    assert f'; iteration {step - 1} is saved in {training.path / "state.h5"}; --resume ' in line
    assert line.endswith(f' (rank 1 on {socket.gethostname()})') == (ranks[0] == 1)
    assert training.state().iteration == step - 1
    for image, content in zip(images, good):
        image.write_bytes(content)


def end_by_an_error(training, rank, iteration):
    """Raise an error in the third step; only rank 0 can save the step before, ``iteration``.

    The saved state excludes the running statistics of the failed step's forward pass.
    """
    before = training.state().iteration
    options = training.options('--resume', **CONFIG)
    with mpi_jobs.started(2, FAULTS, 'crash', rank, *options) as job:
        errors = job.fails()
    assert errors.count('RuntimeError: a fault') == 1
    if rank == '1':
        assert training.state().iteration == before
    else:
        saved = f'iteration {iteration} is saved in {training.path / "state.h5"}; --resume '
        assert errors.count(saved) == 1
        assert training.state().iteration == iteration


def end_within_a_step(training, notices, fault, number, iteration):
    """Send a signal to mpirun during an endless step; ``iteration`` is the step before.

    mpirun kills its processes soon after it has forwarded the signal, in the middle of the step.
    """
    options = training.options('--resume', save_minutes=1e-6, **CONFIG)
    notices = notices / fault
    notices.mkdir()
    with mpi_jobs.started(2, FAULTS, fault, 0, *options, FAULT_NOTICES=str(notices)) as job:
        assert mpi_jobs.wait_for((notices / 'computing').exists)
        job.mpirun.send_signal(number)
        job.fails()
    assert training.state().iteration == iteration
    assert f'iteration {iteration + 1}/' not in training.log()


@pytest.mark.long
def test_jobs_ended_by_faults_resume_to_the_same_bits(training, tmp_path, uninterrupted):
    end_by_unreadable_images(training, [1], step=2)
    end_by_unreadable_images(training, [0, 1], step=4)
    end_by_an_error(training, '1', iteration=5)
    end_by_an_error(training, '0', iteration=5)
    end_within_a_step(training, tmp_path, 'endless_update', signal.SIGINT, iteration=7)
    assert_resumes_to(training, uninterrupted)


@pytest.mark.whole_registry
def test_jobs_ended_by_all_faults_resume_to_the_same_bits(training, tmp_path, uninterrupted):
    for number, ranks in enumerate(([0], [1], [0, 1])):
        end_by_unreadable_images(training, ranks, step=2 * number + 2)
    end_by_an_error(training, '1', iteration=7)
    end_by_an_error(training, '0', iteration=7)
    end_by_an_error(training, 'all', iteration=9)
    end_within_a_step(training, tmp_path, 'endless_gradients', signal.SIGTERM, iteration=11)
    end_within_a_step(training, tmp_path, 'endless_update', signal.SIGINT, iteration=13)
    assert_resumes_to(training, uninterrupted)


def end_by_a_signal(training, number, iteration, expected):
    """Send a signal to mpirun once an iteration is reached.

    mpirun forwards SIGUSR1: all ranks stop after the same iteration, which is saved. After SIGINT
    and SIGTERM it kills its processes half a second later, whether they have saved or not.
    """
    options = training.options('--resume', workers=1, **CONFIG)
    with mpi_jobs.started(2, 'train.py', *options) as job:
        assert training.reaches(iteration, job)
        job.mpirun.send_signal(number)
        errors = job.fails()
    saved = training.state().iteration
    assert saved < expected.iteration, 'the job had finished before the signal'
    assert not (training.path / 'final.h5').exists()
    if number == signal.SIGUSR1:
        assert saved >= iteration
        assert errors.count(f'stopped after iteration {saved}, which is saved') == 1
    assert saved >= iteration - iteration % CONFIG['save_interval']  # the latest milestone


def end_by_sigkill(training, iteration, delay):
    """Kill all processes of a job, ``delay`` seconds after an iteration is reached."""
    options = training.options('--resume', workers=1, **CONFIG)
    with mpi_jobs.started(2, 'train.py', *options) as job:
        assert training.reaches(iteration, job)
        mpi_jobs.wait_for(lambda: False, delay)
        job.kill()
        job.finished()
        assert job.is_gone()


@pytest.mark.long
def test_jobs_ended_by_signals_resume_to_the_same_bits(training, uninterrupted):
    end_by_a_signal(training, signal.SIGUSR1, 2, uninterrupted)
    end_by_a_signal(training, signal.SIGTERM, 9, uninterrupted)
    end_by_sigkill(training, 12, delay=0.05)
    assert_resumes_to(training, uninterrupted)


@pytest.mark.whole_registry
def test_jobs_ended_by_all_signals_resume_to_the_same_bits(training, uninterrupted):
    moments = random.Random(0)
    end_by_a_signal(training, signal.SIGUSR1, 2, uninterrupted)
    end_by_a_signal(training, signal.SIGINT, 9, uninterrupted)
    end_by_a_signal(training, signal.SIGTERM, 13, uninterrupted)
    for iteration in (14, 16, 18):
        end_by_sigkill(training, iteration, moments.uniform(0, 0.1))
    assert_resumes_to(training, uninterrupted)
