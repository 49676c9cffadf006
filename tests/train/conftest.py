"""Fixtures of the tests of train.py: a data set, and runs that several tests start from."""

import shutil

import pytest

from support import mpi_training
from support.train_runs import Training, signalled

STOPPED_AT = 5  # an iteration between two saves


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """The root of a data set with 16 images to train on and 5 to validate."""
    root = tmp_path_factory.mktemp('data') / 'own'
    mpi_training.write_data(root)
    return root


@pytest.fixture(scope='session')
def uninterrupted(data, tmp_path_factory):
    """The folder of a completed run with averaged weights."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    return Training(data, folder, '--workers', 0, ema_decay=0.9).whole('run')


@pytest.fixture(scope='session')
def stopped_run(data, tmp_path_factory):
    """The folder of the same run, stopped by a signal at iteration ``STOPPED_AT``."""
    folder = tmp_path_factory.mktemp('stopped')
    with signalled(STOPPED_AT):
        assert Training(data, folder, '--workers', 0, ema_decay=0.9)('run') == 143
    return folder / 'run'


@pytest.fixture
def stopped(data, stopped_run, tmp_path):
    """A training whose run ``run`` was stopped at iteration ``STOPPED_AT``."""
    shutil.copytree(stopped_run, tmp_path / 'run')
    return Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
