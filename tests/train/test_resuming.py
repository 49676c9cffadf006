"""``--resume``: which state a run resumes from, and which changes it accepts."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest

from engine.runs import checkpoints
from models import weights
from support import mpi_jobs, programs
from support.train_runs import Training, assert_same_run, same_weights, signalled


def test_without_a_state_a_new_run_starts(data, tmp_path, caplog):
    training = Training(data, tmp_path, '--workers', 0, '--no-validation', max_iter=2)
    training.whole('run', '--resume')
    assert 'no state to resume from, starting a new run' in caplog.text


def test_resuming_a_completed_run_changes_nothing(uninterrupted, data, tmp_path):
    """Its last validation can have been interrupted: it is repeated, but recorded once."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    shutil.copytree(uninterrupted, tmp_path / 'run')
    (tmp_path / 'run' / 'final.h5').unlink()
    assert_same_run(training.whole('run', '--resume'), uninterrupted)


def test_a_run_resumes_in_another_folder(uninterrupted, stopped):
    """The state is named by its folder or its file, and a run's own state by any spelling."""
    folder = stopped.folder
    stopped.whole('other', '--resume', folder / 'run')
    assert same_weights(folder / 'other' / 'final.h5', uninterrupted / 'final.h5')
    assert (folder / 'other' / 'best.h5').exists()
    spelling = folder / 'other' / '..' / 'run' / 'state.h5'
    assert_same_run(stopped.whole('run', '--resume', spelling), uninterrupted)


def test_changes_are_reported_and_need_an_option(stopped, capsys, caplog):
    changes = ['--set', 'batch_size=3', '--set', 'lr=0.02', '--skip-bad']
    line = stopped.refused(capsys, 'run', '--resume', *changes)
    assert '--skip-bad' not in line.partition('options: ')[2]  # it changes nothing unnoticed
    assert 'batch_size: 3 was 2' in line
    assert 'lr: 0.02 was 0.05' in line
    assert '--allow-changes' in line
    run = stopped.whole('run', '--resume', *changes, '--allow-changes')
    assert 'resuming with changes: ' in caplog.text
    assert 'the sample order restarts: ' in caplog.text
    facts = checkpoints.load_facts(run / 'state.h5')
    assert (facts['config']['batch_size'], facts['iteration']) == (3, 10)
    assert facts['options']['--skip-bad'] == 'on'
    comment = (run / 'config.yaml').read_text().splitlines()[1]
    assert comment == '# Trained by 1 process with -c cpu -t float --skip-bad'


@pytest.mark.parametrize('solver', ['momentum', 'adam'])
def test_a_state_from_before_milestones_were_scaled(solver, data, tmp_path, capsys):
    schedule = {'schedule': 'step', 'milestones': [2, 3], 'reference_batch': 1, 'max_iter': 8}
    training = Training(
        data, tmp_path, '--workers', 0, '--no-validation', solver=solver, **schedule
    )
    with signalled(1):
        assert training('run') == 143
    path = tmp_path / 'run' / 'state.h5'
    state = checkpoints.load(path)
    state.config.pop('momentum_form', None)  # such states lack this key as well
    checkpoints.save(path, dataclasses.replace(state, scaled=False))
    capsys.readouterr()
    line = training.refused(capsys, 'run', '--resume')
    assert 'other options: milestones: now scaled by the reference_batch; --allow' in line
    training.whole('run', '--resume', '--allow-changes')
    assert checkpoints.load(path).scaled


def test_ignored_options_are_reported(stopped, caplog):
    """Pretrained weights are not read, even if they are missing; the data can have moved."""
    data, moved = stopped.data, stopped.folder / 'moved'
    shutil.copytree(data, moved)
    stopped.data = moved
    stopped.whole('run', '--resume', '-p', 'none.h5')
    assert '-p none.h5 is ignored: the weights come from the state' in caplog.text
    assert f'the data folder is {moved}, it was {data}' in caplog.text


def test_a_run_in_progress_is_not_resumed(data, tmp_path, capsys):
    """Another process can resume it only once the first one is dead."""
    training = Training(data, tmp_path, '--workers', 0, max_iter=2000)
    process = subprocess.Popen(
        [sys.executable, programs.PROJECT / 'train.py', *training.arguments('run')],
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / 'run' / 'state.h5'
    try:
        assert mpi_jobs.wait_for(state.exists)
        line = training.refused(capsys, 'run', '--resume')
        assert f'{tmp_path / "run"}: process {process.pid} on ' in line
        assert 'is training there; wait for it or end it' in line
    finally:
        process.kill()
        process.wait()
    last = checkpoints.load_facts(state)['iteration'] + 1
    with signalled(last):
        assert training('run', '--resume') == 143


def test_an_average_that_is_switched_on_starts_with_the_trained_weights(data, tmp_path):
    """The average does not start with the random initial weights."""
    training = Training(data, tmp_path, '--workers', 0, save_interval=5)
    with signalled(5):
        assert training('run') == 143
    trained = checkpoints.load(tmp_path / 'run' / 'state.h5').parameters
    (tmp_path / 'run' / 'best.h5').unlink(missing_ok=True)
    more = ['--resume', '--set', 'ema_decay=0.999', '--allow-changes', '--set', 'val_interval=50']
    with signalled(6):
        assert training('run', *more) == 143
    saved = weights.read(tmp_path / 'run' / 'model_param_00000005.h5')
    assert all(np.array_equal(saved[name], array) for name, array in trained.items())
