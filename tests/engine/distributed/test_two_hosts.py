"""Training over two hosts, where the machine allows a test to create them."""

import os
import re
import signal

import numpy as np
import pytest

from support import mpi_hosts, mpi_jobs
from support.mpi_jobs import TrainingRun

TIMEOUT = 6  # seconds
# Either mpirun reports the killed rank first, or MPI in the other rank reports its lost peer.
LOST_RANK = 'on node second|Peer host: +second|Socket closed'


@pytest.fixture
def hosts(tmp_path):
    try:
        with mpi_hosts.two_hosts(tmp_path) as hosts:
            yield hosts
    except mpi_hosts.NoHostsError as error:
        pytest.skip(f'needs two network namespaces: {error}')


def training_runs(tmp_path, *names):
    for name in names:
        (tmp_path / name).mkdir()
        yield TrainingRun(tmp_path / name)


def test_two_hosts_train_as_two_local_processes_do(hosts, tmp_path):
    here, there = training_runs(tmp_path, 'here', 'there')
    config = dict(max_iter=4, val_interval=2, save_interval=2)
    local = mpi_jobs.run(2, 'train.py', *here.options(**config))
    assert local.returncode == 0, local.stderr
    before = hosts.received()
    with mpi_jobs.running(hosts.command('train.py', *there.options(**config))) as job:
        process = job.finished()
    assert process.returncode == 0, process.stderr
    for rank, host in enumerate(mpi_hosts.NAMES):
        assert f'rank {rank} on {host}, process' in process.stderr
    states = [training.state() for training in (here, there)]
    gradients = sum(array.nbytes for array in states[0].solver.values())
    assert hosts.received() - before > 4 * gradients
    for name, array in states[0].parameters.items():
        assert np.array_equal(array, states[1].parameters[name]), name
    reports = [training.validations() for training in (here, there)]
    assert reports[0] == reports[1]


def test_a_killed_rank_on_the_other_host_ends_the_job(hosts, tmp_path):
    (training,) = training_runs(tmp_path, 'there')
    with mpi_jobs.running(hosts.command('train.py', *training.options(workers=1))) as job:
        assert training.reaches(2, job)
        os.kill(job.rank(1), signal.SIGKILL)
        assert re.search(LOST_RANK, job.fails())


def test_a_lost_connection_ends_the_ranks_of_both_hosts(hosts, tmp_path):
    """Both halves of mpirun remain; the local one waits until Ctrl-C is pressed twice."""
    (training,) = training_runs(tmp_path, 'there')
    options = training.options('--timeout', TIMEOUT)
    with mpi_jobs.running(hosts.command('train.py', *options)) as job:
        assert training.reaches(2, job)
        hosts.pull_the_cable()
        assert mpi_jobs.wait_for(
            lambda: not any('OMPI_COMM_WORLD_RANK' in e for e in job.processes().values())
        )
        job.kill()
        assert f'error: no progress for {TIMEOUT} seconds' in job.finished().stderr
