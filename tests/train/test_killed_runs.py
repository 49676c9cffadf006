"""Runs that are killed by SIGKILL at any moment and resumed end with the same bits."""

import shutil
import signal

import numpy as np
import pytest

from support import killed_training
from support.train_runs import Training, assert_same_run

# Kinds of points, see killed_training.Killer, and about how many of them a run has.
POINTS = {'call': 240000, 'write': 70, 'replace': 25, 'image': 12}
TRAININGS = {
    'averaged, a worker': (['--workers', 1], {'ema_decay': 0.9}),
    'accumulated, adam': (
        ['--workers', 0, '--seed', 5],
        {
            'solver': 'adam',
            'lr': 0.01,
            'accumulation': 2,
            'val_interval': 3,
            'batch_size': 1,
            'save_minutes': 1e-6,
        },
    ),
    'nesterov, averaged, clipped': (
        ['--workers', 0],
        {'solver': 'nesterov', 'ema_decay': 0.8, 'clip_norm': 0.5, 'keep_checkpoints': 2},
    ),
}


@pytest.fixture(scope='module')
def server():
    """The server process that forks the trainings."""
    with killed_training.Server() as server:
        yield server


@pytest.mark.parametrize('name', TRAININGS)
def test_a_run_that_is_killed_repeatedly_ends_with_the_same_bits(name, server, data, tmp_path):
    """Each run is killed up to five times, mostly after it resumed from the previous kill.

    The points are random: between any two functions, within a file, before a file replaces another
    one, between two images of a validation.
    """
    options, changes = TRAININGS[name]
    training = Training(data, tmp_path, *options, **changes)
    whole = training.whole('whole')
    rng = np.random.RandomState(list(TRAININGS).index(name))
    kills = 0
    for kind in rng.permutation([*POINTS, 'call']):
        number = int(rng.randint(1, POINTS[kind]))
        status, errors = server.train(kind, number, training.arguments('run', '--resume'))
        assert 'Traceback' not in errors
        assert status in (0, -signal.SIGKILL), errors
        if status:
            kills += 1
        else:
            shutil.rmtree(tmp_path / 'run')
    training.whole('run', '--resume')
    assert kills >= 3, 'the points lie beyond the ends of the runs'
    assert_same_run(tmp_path / 'run', whole)
