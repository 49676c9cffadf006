"""A run folder: locking, weights, and protection of an existing run."""

import multiprocessing
import os
import time

import nnabla as nn
import numpy as np
import pytest
import yaml

from common.errors import UserError
from engine import config
from engine.runs import checkpoints
from engine.runs.run_folder import RunFolder
from models import weights
from support import programs
from support.training_states import make_state


def test_a_claim_locks_the_folder_until_it_is_released(tmp_path):
    """A second claim by the same process keeps the lock; SIGKILL releases it."""
    folder, claimed = RunFolder(tmp_path / 'run'), multiprocessing.get_context('fork').Event()

    def claim_and_wait():
        other = RunFolder(tmp_path / 'run')
        other.claim(resume=False)
        other.claim(resume=False)
        claimed.set()
        time.sleep(600)

    process = multiprocessing.get_context('fork').Process(target=claim_and_wait)
    process.start()
    assert claimed.wait(60)
    message = f'run: process {process.pid} on .* is training there; wait for it or end it'
    for _ in range(2):  # a refused claim does not release the lock
        with pytest.raises(UserError, match=message):
            folder.claim(resume=False)
    process.kill()
    process.join()
    folder.claim(resume=False)
    assert folder.lock.read_text().startswith(f'process {os.getpid()} on ')
    folder.release()


def register(value):
    """Register one parameter that is filled with a value."""
    nn.clear_parameters()
    nn.parameter.get_parameter_or_create('w', (2, 3), lambda shape: np.full(shape, value))


def test_weights_are_saved_listed_and_pruned(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    assert not folder.occupied()
    assert folder.latest() is None
    folder.claim(resume=False)
    for iteration in (5, 10, 123456789, 20):
        register(iteration)
        assert folder.save_weights(iteration) == folder.weights(iteration)
    folder.save_best()
    folder.save_final()
    (folder.path / 'model_param_0007.h5').touch()  # seven digits are not our format
    assert list(folder.saved()) == [5, 10, 20, 123456789]
    assert folder.latest().name == 'model_param_123456789.h5'
    folder.prune(5)
    assert len(folder.saved()) == 4
    folder.prune(2)
    assert sorted(os.listdir(folder.path)) == [
        'best.h5',
        'final.h5',
        'lock',
        'model_param_00000020.h5',
        'model_param_0007.h5',
        'model_param_123456789.h5',
    ]
    assert (weights.read(folder.weights(20))['w'] == 20).all()


def test_a_full_disk_keeps_the_earlier_weights(tmp_path):
    folder = RunFolder(tmp_path)
    register(1)
    folder.save_best()
    before = folder.best.read_bytes()
    register(2)
    with (
        programs.full_disk(100),
        pytest.raises(UserError, match=f'^{folder.best}: cannot be written'),
    ):
        folder.save_best()
    assert folder.best.read_bytes() == before
    assert os.listdir(tmp_path) == ['best.h5']


def test_a_run_is_not_overwritten(tmp_path):
    folder = RunFolder(tmp_path)
    register(1)
    folder.save_weights(40)
    for resume in (False, True):
        with pytest.raises(
            UserError, match='at iteration 40: .* no state.h5; .* -p .*040.h5 starts'
        ):
            folder.claim(resume)
    checkpoints.save(folder.state, make_state(30))
    with pytest.raises(UserError, match='at iteration 30: continue it with --resume, or'):
        folder.claim(resume=False)
    folder.claim(resume=True)
    folder.state.write_bytes(b'')
    with pytest.raises(UserError, match='at iteration 40: '):
        folder.claim(resume=False)
    folder.prune(0)
    with pytest.raises(UserError, match='holds a run: '):
        folder.claim(resume=False)


def test_a_run_from_elsewhere_resumes_in_a_new_folder(tmp_path):
    RunFolder(tmp_path / 'new').claim(resume=True)
    assert (tmp_path / 'new').is_dir()


def test_a_file_is_refused_as_a_run_folder(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file: is a file; name a folder'):
        RunFolder(tmp_path / 'file').claim(resume=False)


def test_the_written_config_loads_as_the_same_config(tmp_path):
    folder = RunFolder(tmp_path)
    classes = '[' + ', '.join(f'größer {i}' for i in range(19)) + ']'
    overrides = ['lr=1e-5', 'min_lr=0', 'max_iter=7', f'classes={classes}', 'weights=null']
    effective = config.load(overrides=overrides)
    folder.write_config(effective)
    again = config.load(folder.config)
    assert dict(again) == dict(effective)
    assert dict(effective) == yaml.safe_load(folder.config.read_text())


def test_links_in_a_run_folder_stay_links_and_pipes_are_refused(tmp_path):
    """Whoever prepares the folder empties no file of the user with it, and stops no run."""
    own, folder = tmp_path / 'own.txt', RunFolder(tmp_path / 'run')
    own.write_text('precious')
    folder.path.mkdir()
    folder.lock.symlink_to(own)
    with pytest.raises(UserError, match='lock: is a link and must be a file; remove it'):
        folder.claim(resume=False)
    assert own.read_text() == 'precious' and folder.lock.is_symlink()
    folder.lock.unlink()
    folder.config.symlink_to(tmp_path / 'config.yaml')
    folder.claim(resume=False)
    folder.write_config({'network': 'd3net'})
    assert folder.config.is_symlink()
    assert yaml.safe_load((tmp_path / 'config.yaml').read_text()) == {'network': 'd3net'}
    os.mkfifo(folder.path / 'Training-loss.series.txt')
    with pytest.raises(UserError, match='series.txt: is a pipe or a device .*; remove it'):
        folder.claim(resume=False)
    folder.release()
