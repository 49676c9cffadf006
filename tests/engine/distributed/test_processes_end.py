"""How jobs of several processes end: at the end, by a signal, by a fault, killed, hanging.

Always in bounded time, without a process left, and so that ``--resume`` goes on to the same bits.
"""

import os
import random
import signal
import socket

import numpy as np
import pytest

from common.errors import UserError
from datasets.loading.sampler import Sampler, SamplerState
from engine.device import extension
from engine.device.context import DeviceChoice
from engine.device.extension.findings import Findings
from engine.distributed import communicators
from engine.runs import checkpoints
from support import mpi_jobs, programs
from support.mpi_jobs import Training

FAULTS = 'tests/support/mpi_faults.py'
IMAGES = 16  # that there are to train on


@pytest.fixture
def training(tmp_path):
    return Training(tmp_path)


def test_several_processes_write_what_one_writes(tmp_path):
    """Losses, scores and files."""
    config = dict(max_iter=4, val_interval=2, save_interval=2, freeze_statistics=True)
    runs = {}
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        runs[count] = Training(tmp_path / str(count))
    one = programs.run('train.py', *runs[1].options(batch_size=2, **config))
    assert one.returncode == 0, one.stderr
    two = mpi_jobs.run(2, 'train.py', *runs[2].options(batch_size=1, **config))
    assert two.returncode == 0, two.stderr

    losses = [np.loadtxt(run.path / 'Training-loss.series.txt', usecols=1) for run in runs.values()]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    reports = [(run.path / 'validation.json').read_bytes() for run in runs.values()]
    assert reports[0] == reports[1]
    files = [
        sorted(path.name for path in run.path.iterdir() if not path.name.startswith('events'))
        for run in runs.values()
    ]
    assert files[0] == files[1]
    assert len(list(runs[2].path.glob('events*'))) == 1
    assert [two.stderr.count(f'rank {rank} on ') for rank in range(3)] == [1, 1, 0]
    assert two.stderr.count('iteration 4/4 | loss') == 1


@pytest.mark.parametrize('variable', ['OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'])
def test_processes_that_do_not_find_each_other_are_refused(training, variable):
    """Started by another MPI, each would train alone, into the same folder."""
    process = programs.run('train.py', *training.options(), **{variable: '2'})
    line = programs.error_line(process)
    assert variable in line
    assert 'mpi4py sees 1' in line
    assert not training.path.exists()


def test_without_mpi4py_several_processes_are_refused(training, tmp_path):
    (tmp_path / 'mpi4py.py').write_text('raise ImportError("cannot be loaded")')
    process = programs.run(
        'train.py', *training.options(), OMPI_COMM_WORLD_SIZE='2', PYTHONPATH=str(tmp_path)
    )
    assert 'mpi4py cannot be imported' in programs.error_line(process)


def test_an_mpi4py_that_finds_no_mpi_is_refused(training):
    variables = {'OMPI_COMM_WORLD_SIZE': '2', 'MPI4PY_LIBMPI': '/no/such/library.so'}
    process = programs.run('train.py', *training.options(), **variables)
    assert 'mpi4py cannot be imported' in programs.error_line(process)


@programs.without_cuda
def test_gpus_that_cannot_be_joined_are_refused(monkeypatch):
    """Also when NCCL joins fewer processes than MPI has."""

    class Communicator:
        size, local_rank = 1, 0

        def __init__(self, context):
            pass

        def init(self):
            pass

    def refuses(self):
        raise RuntimeError('NCCL error\nno such device')

    processes = type('Two', (), {'size': 2, 'local_rank': 0})()
    monkeypatch.setattr(communicators, 'get_extension_context', lambda *_, **__: None)
    monkeypatch.setattr('nnabla.communicators.MultiProcessCommunicator', Communicator)
    with pytest.raises(UserError, match='2 processes, but NCCL connects 1'):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))
    monkeypatch.setattr(Communicator, 'size', 2)
    assert isinstance(
        communicators.connect(processes, DeviceChoice('cudnn', 'float')),
        communicators.NcclCommunicator,
    )
    monkeypatch.setattr(Communicator, 'local_rank', 1)  # as where two machines have one name
    for device in (0, 1):
        told = f'process {1 - device} of a machine .* this process uses GPU {device}: let every'
        with pytest.raises(UserError, match=told):
            communicators.connect(processes, DeviceChoice('cudnn', 'float', device=device))
    monkeypatch.setattr(Communicator, 'init', refuses)
    with pytest.raises(
        UserError, match=r'cannot create a communicator .*\(is not registered: nnabla-'
    ):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))
    registered = Findings(registered=('cuda:float',))
    monkeypatch.setattr(extension, 'examine', lambda: registered)
    with pytest.raises(UserError, match=r'cannot create a communicator .*\(no such device\)'):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))


@programs.without_cuda
def test_mpirun_says_little_about_a_mistake(training):
    """It is told once, and what mpirun adds is that the job has ended."""
    job = mpi_jobs.run(2, 'train.py', *training.options(), '-c', 'cudnn')
    assert job.returncode == 2
    lines = job.stderr.strip().splitlines()
    assert lines[0].startswith('error: -c cudnn: nnabla-ext-cuda120 is not installed')
    assert 'MPI_ABORT' not in job.stderr
    assert len(lines) <= 8


def test_a_killed_rank_ends_the_job(training):
    with mpi_jobs.started(2, 'train.py', *training.options()) as job:
        assert training.reaches(3, job)
        assert len(job.processes()) == 5  # mpirun, ranks, workers
        os.kill(job.rank(1), signal.SIGKILL)
        assert 'exited on\nsignal 9' in job.fails()


def test_a_mistake_of_one_rank_alone_is_told_by_it(training):
    """Before the processes have joined; one of all is told by rank 0 alone."""
    with mpi_jobs.started(2, FAULTS, 'mistake', 1, *training.options()) as job:
        errors = job.fails()
    assert errors.count('error: ') == 1
    assert f'error: only here (rank 1 on {socket.gethostname()})' in errors
    with mpi_jobs.started(2, 'train.py', '--bogus') as job:
        errors = job.fails()
    assert errors.count('error: ') == 1
    assert 'rank' not in errors.split('error: ')[1].splitlines()[0]


@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_hangs_ends_the_job(training, rank):
    with mpi_jobs.started(2, 'train.py', *training.options('--timeout', 15)) as job:
        assert training.reaches(3, job)
        os.kill(job.rank(rank), signal.SIGSTOP)
        errors = job.fails()
    assert errors.count('error: no progress for 15 seconds since iteration') == 1
    assert '--resume' in errors


@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_during_validation_ends_the_job(training, rank):
    """While one rank validates, the other waits for it in MPI, where no signal reaches it."""
    options = training.options(val_interval=2, save_interval=2)
    with mpi_jobs.started(2, FAULTS, 'linger', rank, *options) as job:
        assert mpi_jobs.wait_for((training.path / 'model_param_00000002.h5').exists)
        job.mpirun.send_signal(signal.SIGUSR1)
        job.fails()
    assert training.state().iteration == 2


# After the last signal there are seconds left, so that it is what ends the job.
RESUMED = dict(max_iter=64, save_interval=8, val_interval=12)
SHORT = dict(max_iter=8, save_interval=100, val_interval=100)


def final_state(folder, config) -> checkpoints.TrainingState:
    """The last state of a run of two processes that nothing interrupts."""
    whole = Training(folder)
    process = mpi_jobs.run(2, 'train.py', *whole.options(**config))
    assert process.returncode == 0, process.stderr
    return whole.state()


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    """Of long runs."""
    return final_state(tmp_path_factory.mktemp('whole'), RESUMED)


@pytest.fixture(scope='module')
def expected_soon(tmp_path_factory):
    """Of short runs."""
    return final_state(tmp_path_factory.mktemp('short'), SHORT)


def assert_goes_on_to(training, expected, config):
    """A resumed run ends with the very same bits."""
    process = mpi_jobs.run(2, 'train.py', *training.options('--resume', **config))
    assert process.returncode == 0, process.stderr
    state = training.state()
    assert state.iteration == expected.iteration
    for name in ('parameters', 'solver'):
        mine, theirs = getattr(state, name), getattr(expected, name)
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[key], theirs[key]) for key in theirs), name


def sample_of(rank, step) -> str:
    """The file that one of two ranks loads for a step, counted from 1, of a batch of one."""
    names = sorted(f'{number}.png' for number in range(IMAGES))
    order, state = Sampler(IMAGES, 1, 0, rank=rank, ranks=2), SamplerState()
    for _ in range(step):
        _, ((_, index),), state = order.next_batch(state)
    return names[index]


@pytest.mark.parametrize('ranks', [[0], [1], [0, 1]])
def test_an_image_that_a_rank_cannot_read_ends_the_job_after_the_step_before(
    training, ranks, expected_soon
):
    """It is told once, with what is saved; once it is mended the run goes on to the same bits."""
    images = [training.data / 'images' / 'train' / sample_of(rank, 4) for rank in ranks]
    good = [image.read_bytes() for image in images]
    for image in images:
        image.write_bytes(b'not a picture')
    with mpi_jobs.started(2, 'train.py', *training.options(**SHORT)) as job:
        errors = job.fails()
    assert 'Traceback' not in errors
    (line,) = [line for line in errors.splitlines() if 'error: ' in line]
    assert str(images[0]) in line
    state = training.path / 'state.h5'
    told = f'; iteration 3 is saved in {state}; --resume goes on from there'
    assert line.endswith(told if ranks[0] == 0 else f'{told} (rank 1 on {socket.gethostname()})')
    assert training.state().iteration == 3
    for image, content in zip(images, good):
        image.write_bytes(content)
    assert_goes_on_to(training, expected_soon, SHORT)


@pytest.mark.parametrize('rank', ['0', '1', 'all'])
def test_an_error_in_the_middle_of_a_step(training, rank, expected_soon):
    """It ends the job with one traceback. Where it is rank 0's, the step before is saved, without
    the running statistics of the forward pass; the others cannot tell it.
    """
    with mpi_jobs.started(2, FAULTS, 'crash', rank, *training.options(**SHORT)) as job:
        errors = job.fails()
    assert errors.count('RuntimeError: a fault') == 1
    if rank == '1':
        assert not (training.path / 'state.h5').exists()
    else:
        told = f'iteration 2 is saved in {training.path / "state.h5"}; --resume goes on from there'
        assert errors.count(told) == 1
        assert training.state().iteration == 2
    assert_goes_on_to(training, expected_soon, SHORT)


def test_jobs_killed_within_long_steps_go_on_to_the_same_bits(training, tmp_path, expected_soon):
    """mpirun kills its processes soon after it has passed SIGTERM or Ctrl-C on, in the middle of a
    step: what is left is the latest state, here that of the iteration before.
    """
    for fault, number, iteration in (
        ('endless_gradients', signal.SIGTERM, 2),
        ('endless_update', signal.SIGINT, 4),
    ):
        options = training.options('--resume', save_minutes=1e-6, **SHORT)
        signs = tmp_path / fault
        signs.mkdir()
        with mpi_jobs.started(2, FAULTS, fault, 0, *options, FAULT_SIGNS=str(signs)) as job:
            assert mpi_jobs.wait_for((signs / 'computing').exists)
            job.mpirun.send_signal(number)
            job.fails()
        assert training.state().iteration == iteration
        assert f'iteration {iteration + 1}/' not in training.log()
    assert_goes_on_to(training, expected_soon, SHORT)


def test_what_is_the_same_on_all_processes_is_said_by_rank_0(training):
    (training.data / 'labels' / 'train' / 'alone.png').write_bytes(b'')
    assert mpi_jobs.run(2, 'train.py', *training.options(max_iter=2)).returncode == 0
    options = training.options('--resume', '--allow-changes', max_iter=3, lr=0.02)
    process = mpi_jobs.run(2, 'train.py', *options)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count('resuming with changes: ') == 1
    assert process.stderr.count('a label without an image') == 1


@pytest.mark.long
def test_signals_end_a_job_that_goes_on_to_the_same_bits(training, expected):
    """mpirun passes SIGUSR1 on: all stop after the same iteration and the state has it. After
    SIGINT and SIGTERM it kills its processes half a second later, whether they have saved or not.
    """
    for number, iteration in ((signal.SIGUSR1, 2), (signal.SIGINT, 9), (signal.SIGTERM, 17)):
        options = training.options('--resume', **RESUMED)
        with mpi_jobs.started(2, 'train.py', *options) as job:
            assert training.reaches(iteration, job)
            job.mpirun.send_signal(number)
            errors = job.fails()
        saved = training.state().iteration
        assert saved < expected.iteration, 'it has come to its end'
        assert not (training.path / 'final.h5').exists()
        if number == signal.SIGUSR1:
            assert saved >= iteration
            assert errors.count(f'stopped after iteration {saved}, which is saved') == 1
        assert saved >= iteration - 1  # a multiple of save_interval
    assert_goes_on_to(training, expected, RESUMED)


@pytest.mark.long
def test_a_job_killed_at_any_moment_goes_on_to_the_same_bits(training, expected):
    moments = random.Random(0)
    for iteration in (2, 9, 17):
        options = training.options('--resume', **RESUMED)
        with mpi_jobs.started(2, 'train.py', *options) as job:
            assert training.reaches(iteration, job)
            mpi_jobs.wait_for(lambda: False, moments.uniform(0, 0.3))
            job.kill()
            job.finished()
            assert job.is_gone()
    assert_goes_on_to(training, expected, RESUMED)
