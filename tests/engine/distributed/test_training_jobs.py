"""A training of several processes has the results and messages of a training of one."""

import numpy as np
import pytest

from support import mpi_jobs, programs
from support.mpi_jobs import TrainingRun


def test_several_processes_write_what_one_writes(tmp_path):
    """The same losses, scores and files; messages common to all ranks come from rank 0 alone."""
    config = dict(max_iter=4, val_interval=2, save_interval=2, freeze_statistics=True)
    runs = {}
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        runs[count] = TrainingRun(tmp_path / str(count))
        (runs[count].data / 'labels' / 'train' / 'alone.png').write_bytes(b'')
    one = programs.run('train.py', *runs[1].options(batch_size=2, **config))
    assert one.returncode == 0, one.stderr
    two = mpi_jobs.run(2, 'train.py', *runs[2].options(batch_size=1, **config))
    assert two.returncode == 0, two.stderr

    losses = [np.loadtxt(run.path / 'Training-loss.series.txt', usecols=1) for run in runs.values()]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    reports = [run.validations() for run in runs.values()]
    assert reports[0] == reports[1]
    files = [
        sorted(path.name for path in run.path.iterdir() if not path.name.startswith('events'))
        for run in runs.values()
    ]
    assert files[0] == files[1]
    assert len(list(runs[2].path.glob('events*'))) == 1
    assert [two.stderr.count(f'rank {rank} on ') for rank in range(3)] == [1, 1, 0]
    assert two.stderr.count('iteration 4/4 | loss') == 1

    config |= dict(max_iter=5, lr=0.02)
    options = runs[2].options('--resume', '--allow-changes', batch_size=1, **config)
    resumed = mpi_jobs.run(2, 'train.py', *options)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count('resuming with changes: ') == 1
    assert resumed.stderr.count('a label without an image') == 1
