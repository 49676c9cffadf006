"""Failures during a run: one line names the cause, and the run can be resumed with the same bits.

Full disks, diverging weights, exhausted memory and unreadable images.
"""

import shutil
from itertools import count

import numpy as np
import pytest

from datasets.loading.sampler import Sampler
from engine.runs import checkpoints
from engine.runs.run_folder import RunFolder
from engine.training.losses import Objective
from engine.training.optimizer import Optimizer
from support import programs
from support.train_runs import Training, assert_same_run


@pytest.mark.parametrize('room', ['for half a state', 'for some lines', 'for nothing'])
def test_a_full_disk_keeps_the_good_state(room, uninterrupted, stopped, capsys):
    run = stopped.folder / 'run'
    good = (run / 'state.h5').read_bytes()
    size = {
        'for half a state': len(good) // 2,
        'for some lines': (run / 'train.log').stat().st_size + 150,
        'for nothing': 0,
    }[room]
    with programs.full_disk(size):
        line = stopped.refused(capsys, 'run', '--resume')
    assert 'cannot be written (File too large)' in line
    assert (run / 'state.h5').read_bytes() == good
    assert_same_run(stopped.whole('run', '--resume'), uninterrupted)


@pytest.mark.parametrize('method', ['save_weights', 'save_best'])
def test_a_disk_without_room_for_weights(
    method, uninterrupted, data, tmp_path, monkeypatch, capsys
):
    """The state of that iteration has been saved before the weights."""
    training = Training(data, tmp_path, '--workers', 0, ema_decay=0.9)
    save = getattr(RunFolder, method)

    def without_room(*arguments):
        with programs.full_disk(1000):
            return save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, method, without_room)
        line = training.refused(capsys, 'run')
    assert '.h5: cannot be written (File too large)' in line
    state = tmp_path / 'run' / 'state.h5'
    assert line.endswith(f'; iteration 4 is saved in {state}; --resume continues from it')
    assert checkpoints.load_facts(state)['best'] is None
    assert_same_run(training.whole('run', '--resume'), uninterrupted)


def test_a_diverging_run_names_its_files_and_the_last_good_weights(uninterrupted, stopped, capsys):
    run = stopped.folder / 'run'
    good = (run / 'state.h5').read_bytes()
    line = stopped.refused(
        capsys, 'run', '--workers', 1, '--resume', '--allow-changes', '--set', 'lr=1e+39'
    )
    assert 'is not finite after iteration 6 ' in line
    images = (stopped.data / 'images' / 'train').iterdir()
    assert len([path for path in images if str(path) in line]) == 2
    assert f'the last good state, of iteration 5, is {run / "state.h5"}: with a lower lr' in line
    assert line.endswith(f'the latest weights are {run / "model_param_00000004.h5"}')
    assert (run / 'state.h5').read_bytes() == good
    assert_same_run(stopped.whole('run', '--resume'), uninterrupted)


def test_diverged_weights_never_replace_a_good_state(data, tmp_path, capsys):
    """Weights whose next loss is not finite, at any learning rate, are not saved."""
    training = Training(data, tmp_path, '--workers', 0, lr=1e20)
    line = training.refused(capsys, 'run')
    assert 'is not finite in iteration 2 ' in line or 'loss of iteration 2 is not finite' in line
    assert line.endswith('nothing is saved yet; a lower lr may help')
    assert not (tmp_path / 'run' / 'state.h5').exists()


def test_weights_that_are_not_finite_are_never_saved(data, tmp_path, capsys):
    """The loss is computed before the update, which can be the one that spoils the weights."""
    training = Training(data, tmp_path, '--workers', 0, save_interval=1, lr=1e39)
    line = training.refused(capsys, 'run')
    assert 'is not finite after iteration 1 ' in line
    assert not list((tmp_path / 'run').glob('*.h5'))


def poison_loss(monkeypatch):
    """Make the loss of the sixth iteration NaN."""
    feed, calls = Objective.feed, count(1)

    def poisoned(objective, labels, totals):
        feed(objective, labels, totals * np.nan if next(calls) == 6 else totals)

    monkeypatch.setattr(Objective, 'feed', poisoned)


def exhaust_memory(monkeypatch):
    """Raise MemoryError before the sixth update."""
    overflow, calls = Optimizer.has_overflow, count(1)

    def fails(optimizer):
        if next(calls) == 6:
            raise MemoryError('none left')
        return overflow(optimizer)

    monkeypatch.setattr(Optimizer, 'has_overflow', fails)


@pytest.mark.parametrize('fault', [poison_loss, exhaust_memory])
def test_an_error_in_a_step_leaves_a_state_to_resume_from(
    fault, uninterrupted, data, tmp_path, monkeypatch, caplog, capsys
):
    """The same bits follow, although a forward pass has changed running statistics."""
    training = Training(data, tmp_path, '--workers', 1, ema_decay=0.9)
    state = tmp_path / 'run' / 'state.h5'
    with monkeypatch.context() as patch:
        fault(patch)
        if fault is poison_loss:
            line = training.refused(capsys, 'run')
            assert 'the loss of iteration 6 is not finite' in line
            assert f'the last good state, of iteration 4, is {state}' in line
        else:
            with pytest.raises(MemoryError, match='none left'):
                training('run')
            assert f'iteration 5 is saved in {state}; --resume continues from it' in caplog.text
    assert checkpoints.load_facts(state)['iteration'] == (4 if fault is poison_loss else 5)
    assert_same_run(training.whole('run', '--resume'), uninterrupted)


@pytest.mark.parametrize(('workers', 'accumulation'), [(0, 2), (2, 1)])
def test_an_unreadable_sample_stops_the_run_after_the_previous_step(
    workers, accumulation, data, tmp_path, capsys
):
    """Once the file is repaired, the same bits follow.

    With accumulation, the first batch of the step has already been loaded.
    """
    own = tmp_path / 'data'
    shutil.copytree(data, own)
    training = Training(
        own, tmp_path, '--workers', workers, accumulation=accumulation, batch_size=1, max_iter=8
    )
    whole = training.whole('whole', '--workers', 0)
    names = sorted(path.name for path in (own / 'images' / 'train').iterdir())
    _, index = Sampler(len(names), 1, 0).sample(6 * accumulation - 1)  # the last of iteration 6
    image = own / 'images' / 'train' / names[index]
    good = image.read_bytes()
    image.write_bytes(b'not a picture')
    line = training.refused(capsys, 'run')
    state = tmp_path / 'run' / 'state.h5'
    assert line.startswith(f'error: {image}: ')
    advice = '; repair the file, or pass --skip-bad to train on another sample in its place'
    assert line.endswith(f'{advice}; iteration 5 is saved in {state}; --resume continues from it')
    assert str(image) in training.refused(capsys, 'run', '--resume')  # and nothing is lost
    shutil.copytree(tmp_path / 'run', tmp_path / 'skipping')
    skipping = training.whole('skipping', '--resume', '--skip-bad', '--workers', 0)
    assert (skipping / 'final.h5').exists()
    image.write_bytes(good)
    assert_same_run(training.whole('run', '--resume'), whole)
