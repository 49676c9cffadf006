"""Test the Slurm script of several-devices.md: stopped jobs are saved, requeued, and go on."""

import os
import shlex
import signal
import sys

import pytest

from docs import blocks
from support import mpi_jobs, programs, slurm
from support.mpi_jobs import TrainingRun

PAGE = programs.PROJECT / 'docs' / 'several-devices.md'
FILE = 'street.sbatch'
# The lines of the page that a reader changes.
COMMAND = """.venv/bin/mpirun --bind-to none .venv/bin/python train.py \\
    -cfg configs/D3Net_L.yaml -d data/cityscapes -o runs/street --resume &
"""
SIZES = {'--nodes=2': '--nodes=1', 'node=4': 'node=2', 'task=8': 'task=1'}
JOB = '7'  # the number of the job without Slurm
STOPPED = 143
LENGTH = dict(max_iter=60, save_interval=1000)


@pytest.fixture(scope='module')
def expected(tmp_path_factory):
    """The final weights of a run that nothing stops."""
    training = TrainingRun(tmp_path_factory.mktemp('uninterrupted'))
    process = mpi_jobs.run(2, 'train.py', *options(training))
    assert process.returncode == 0, process.stderr
    return (training.path / 'final.h5').read_bytes()


@pytest.fixture
def training(tmp_path):
    return TrainingRun(tmp_path)


def options(training):
    return training.options('--no-validation', **LENGTH)


def script_of_the_page(training, mpirun_options):
    """Write the script with a small training, on few processes, beside the run; return its path."""
    (code,) = (block.code for block in blocks.read(PAGE).blocks if block.file == FILE)
    assert code.count(COMMAND) == 1
    train = [sys.executable, 'train.py', *options(training), '--resume']
    command = [mpi_jobs.MPIRUN, *mpirun_options, '--bind-to', 'none', *train]
    code = code.replace(COMMAND, f'{shlex.join(map(str, command))} &\n')
    for shown, own in SIZES.items():
        assert code.count(shown) >= 1
        code = code.replace(shown, own)
    path = training.path.parent / FILE
    path.write_text(code)
    return path


@pytest.fixture
def scontrol(tmp_path):
    """A stand-in for Slurm's command, and the file with the arguments of its calls."""
    folder, calls = tmp_path / 'bin', tmp_path / 'calls'
    folder.mkdir()
    (folder / 'scontrol').write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    (folder / 'scontrol').chmod(0o755)
    calls.touch()
    return folder, calls


def start(script, scontrol):
    """Start the script as Slurm does, without Slurm."""
    path = f'{scontrol[0]}{os.pathsep}{os.environ["PATH"]}'
    return mpi_jobs.running(['bash', str(script)], {'PATH': path, 'SLURM_JOB_ID': JOB})


@pytest.mark.long
def test_the_script_requeues_a_job_whose_time_is_up(training, scontrol, expected):
    calls = scontrol[1]
    script = script_of_the_page(training, ['-n', 2, '--allow-run-as-root', '--oversubscribe'])
    with start(script, scontrol) as job:
        assert training.reaches(3, job)
        job.mpirun.send_signal(signal.SIGUSR1)
        process = job.finished()
    assert process.returncode == STOPPED, process.stderr
    assert calls.read_text() == f'requeue {JOB}\n'
    saved = training.state().iteration
    assert 3 <= saved < LENGTH['max_iter']
    with start(script, scontrol) as job:
        assert training.reaches(saved + 1, job)
        job.mpirun.send_signal(signal.SIGTERM)  # scancel --batch --signal=TERM
        process = job.finished()
    assert process.returncode == STOPPED, process.stderr
    assert saved < training.state().iteration < LENGTH['max_iter']
    with start(script, scontrol) as job:
        process = job.finished()
    assert process.returncode == 0, process.stderr
    assert calls.read_text() == f'requeue {JOB}\n'
    assert (training.path / 'final.h5').read_bytes() == expected


@pytest.mark.whole_registry
def test_slurm_runs_the_script(training, tmp_path, expected):
    (tmp_path / 'slurm').mkdir()
    script = script_of_the_page(training, [])
    try:
        with slurm.one_node(tmp_path / 'slurm') as cluster:
            check_job(cluster, script, training)
    except slurm.NoSlurmError as error:
        pytest.skip(f'needs Slurm: {error}')
    assert (training.path / 'final.h5').read_bytes() == expected


def check_job(cluster, script, training):
    """Submit the script, signal it as when the time is up, and see the job to its end."""
    log = training.path.parent / 'job.log'
    job = cluster.run(
        'sbatch', '--parsable', f'--output={log}', script, cwd=programs.PROJECT
    ).strip()
    reached = mpi_jobs.wait_for(lambda: 'iteration 3/' in training.log())
    assert reached, log.read_text()
    cluster.run('scancel', '--batch', '--signal=USR1', job)
    assert cluster.is_in_state(job, 'PENDING'), log.read_text()
    assert 3 <= training.state().iteration < LENGTH['max_iter']
    cluster.run('scontrol', 'update', f'JobId={job}', 'StartTime=now')
    assert cluster.is_in_state(job, 'COMPLETED', seconds=240), log.read_text()
    assert cluster.fact(job, 'Restarts') == '1'
