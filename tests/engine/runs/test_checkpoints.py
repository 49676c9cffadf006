"""The state of a run comes back whole or not at all, and a run folder keeps what is a run's."""

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import time

import h5py
import nnabla as nn
import numpy as np
import pytest
import yaml

from common.errors import UserError
from engine import config
from engine.config import schema
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.run_folder import RunFolder
from models import weights
from support import programs


def make_state(iteration=8, seed=0, size=20):
    """A state with all kinds of arrays and facts."""
    rng = np.random.RandomState(seed)
    parameters = {
        'z/conv/W': rng.randn(4, 3, 3, size).astype(np.float32),
        'a/bn/mean': np.array([[[[np.nan]], [[-0.0]], [[np.inf]]]], np.float32),
        'a/bn': rng.randn(size).astype(np.float16),  # also the beginning of another name
    }
    solver = {
        'm/z/conv/W': rng.randn(5)[::2],
        't': np.array(2**40, np.int64),
        'empty/ä .': np.zeros((0, 3), np.uint32),
        'flags': np.array([True, False]),
    }
    return TrainingState(
        iteration=iteration,
        parameters=parameters,
        solver=solver,
        average={name: array * 2 for name, array in parameters.items()},
        loader={'epoch': 3, 'order': [2, 0, 1], 'random': [2**80, 'x']},
        loss_scale={'scale': 65536.0, 'good': 12},
        best={'score': 0.1 + 0.2, 'iteration': 4},
        seed=7,
        config={'network': 'd3net', 'lr': 0.01, 'crop_scales': [0.5, 2.0], 'flip': None},
        processes=4,
        options={'-t': 'half', '--tf32': 'off'},
        versions={'nnabla': '1.39.0'},
        name='D3Net_L',
        extras={'note': 'Größe'},
    )


def assert_equal(one, other):
    """Every field, the order of names, and every bit of every array."""
    for field in dataclasses.fields(TrainingState):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in checkpoints.ARRAYS and a is not None:
            assert list(a) == list(b)
            for name in a:
                assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
                assert a[name].tobytes() == b[name].tobytes()
        else:
            assert a == b


def load_error(path):
    """The one line with which a file is refused, which names it."""
    with pytest.raises(UserError) as caught:
        checkpoints.load(path)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / 'new' / 'state.h5'
    state = make_state()
    checkpoints.save(path, state)
    assert_equal(checkpoints.load(path), state)
    facts = checkpoints.load_facts(path)
    assert facts['best'] == state.best
    assert 'parameters' not in facts
    state = dataclasses.replace(state, average=None, loss_scale=None, best=None, solver={})
    checkpoints.save(path, state)
    assert_equal(checkpoints.load(path), state)
    assert os.listdir(path.parent) == ['state.h5']
    with h5py.File(path, 'r') as file:  # any HDF5 program reads it
        assert json.loads(file['facts'][()].tobytes())['seed'] == 7


def test_tuples_come_back_as_lists(tmp_path):
    state = dataclasses.replace(make_state(), loader={'waiting': ((1, 2), ()), 'a': [(3,)]})
    checkpoints.save(tmp_path / 'state.h5', state)
    loader = checkpoints.load(tmp_path / 'state.h5').loader
    assert loader == {'waiting': [[1, 2], []], 'a': [[3]]}


@pytest.mark.parametrize(
    'change',
    [
        {'best': {'score': float('nan')}},
        {'loader': {'order': [{'a': {2: 1}}]}},
        {'loader': {1: 'one'}},
        {'seed': np.int64(7)},
        {'solver': {'m': np.array(['text'])}},
        {'average': {'m': np.array([None])}},
    ],
)
def test_what_could_not_come_back_is_not_saved(change, tmp_path):
    with pytest.raises(ValueError, match=next(iter(change))):
        checkpoints.save(tmp_path / 'state.h5', dataclasses.replace(make_state(), **change))
    assert not os.listdir(tmp_path)


def test_files_that_are_no_state(tmp_path):
    assert 'leave out --resume' in load_error(tmp_path / 'none.h5')
    assert 'no such training state' in load_error(tmp_path)
    foreign = tmp_path / 'foreign.h5'
    for content in (b'', b'\x89HDF\r\n\x1a\n', os.urandom(2000), b'\n' * 600):
        foreign.write_bytes(content)
        assert 'is not a training state; start from weights' in load_error(foreign)
    nn.parameter.get_parameter_or_create('w', (2, 3))
    weights.save(foreign)
    assert 'is not a state' in load_error(foreign)
    checkpoints.save(foreign, make_state())
    content = foreign.read_bytes()
    foreign.write_bytes(content[:-1])
    assert f'is truncated: it has {len(content) - 1} bytes' in load_error(foreign)
    foreign.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert 'is damaged' in load_error(foreign)
    foreign.write_bytes(content.replace(b'state 2', b'state 9', 1))
    assert 'another version of this program' in load_error(foreign)


def test_damage_never_ends_otherwise_than_in_one_line(tmp_path):
    path = tmp_path / 'state.h5'
    state = make_state(size=2)
    checkpoints.save(path, state)
    whole = path.read_bytes()
    refused = 0
    for seed in range(200):
        rng = random.Random(seed)
        content = bytearray(whole)
        kind = rng.choice(['bits', 'bits of the header', 'hole', 'cut', 'longer', 'moved'])
        start = rng.randrange(len(content))
        if kind == 'bits':
            content[start] ^= 1 << rng.randrange(8)
        elif kind == 'bits of the header':
            content[rng.randrange(checkpoints.HEADER_BYTES)] ^= 1 << rng.randrange(8)
        elif kind == 'hole':
            end = min(len(content), start + rng.randrange(1, 3000))
            content[start:end] = bytes(end - start)
        elif kind == 'cut':
            del content[start:]
        elif kind == 'longer':
            content += bytes(rng.randrange(1, 600))
        else:
            content = content[start:] + content[:start]
        path.write_bytes(content)
        try:
            assert_equal(checkpoints.load(path), state)
        except UserError as error:
            refused += 1
            assert '\n' not in str(error)
            assert str(path) in str(error)
    assert refused > 120


def save_for_ever(path):
    for iteration in range(1, 10**6):
        checkpoints.save(path, make_state(iteration, seed=iteration, size=3000))


def test_a_killed_process_leaves_a_whole_state(tmp_path):
    folder = RunFolder(tmp_path)
    rng = random.Random(0)
    last, leftovers = 0, 0
    for kills in range(1, 300):
        process = multiprocessing.get_context('fork').Process(
            target=save_for_ever, args=(folder.state,)
        )
        folder.state.unlink(missing_ok=True)
        process.start()
        while not folder.state.exists():
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        state = checkpoints.load(folder.state)
        assert_equal(state, make_state(state.iteration, seed=state.iteration, size=3000))
        last = max(last, state.iteration)
        leftovers += sum(name.startswith('.') for name in os.listdir(tmp_path))
        folder.claim(resume=True)
        assert sorted(os.listdir(tmp_path)) == ['lock', 'state.h5']
        if kills >= 20 and last > 1 and leftovers:
            break
    else:
        pytest.fail('never killed while a file was being written over another')


def test_a_full_disk_leaves_the_state_before(tmp_path):
    path = tmp_path / 'state.h5'
    checkpoints.save(path, make_state())
    with (
        programs.full_disk(4000),
        pytest.raises(UserError, match='state.h5: cannot be written') as caught,
    ):
        checkpoints.save(path, make_state(9))
    assert '\n' not in str(caught.value)
    assert_equal(checkpoints.load(path), make_state())
    assert os.listdir(tmp_path) == ['state.h5']


def test_changes_of_a_config():
    old = {'lr': 0.02, 'power': 0.9, 'milestones': [1, 2], 'clip_norm': 1.0, 'network': 'd3net'}
    new = {'lr': 0.01, 'power': 0.9, 'milestones': [1, 3], 'solver': 'adam', 'network': 'd3net'}
    ignored = {'palette': [[0, 0, 0]], 'test_flip': True, 'data_dir': '/x', 'save_interval': 5}
    ignored |= {'save_minutes': 0.5}
    assert sorted(checkpoints.config_changes(old, new | ignored)) == [
        'clip_norm: not set was 1.0',
        'lr: 0.01 was 0.02',
        'milestones: [1, 3] was [1, 2]',
        'solver: adam was not set',
    ]
    assert checkpoints.config_changes(new, new | ignored) == []


def test_changes_of_options():
    old, new = {'-t': 'float', '--tf32': 'off'}, {'-t': 'float', '--tf32': 'on'}
    assert checkpoints.option_changes(old, new) == ['--tf32: on was off']
    assert checkpoints.option_changes(new, new) == []


def test_a_claim_holds_until_it_is_released(tmp_path):
    """Twice claimed by one process it is still locked for others; SIGKILL unlocks it."""
    folder, claimed = RunFolder(tmp_path / 'run'), multiprocessing.get_context('fork').Event()

    def claim_for_ever():
        other = RunFolder(tmp_path / 'run')
        other.claim(resume=False)
        other.claim(resume=False)
        claimed.set()
        time.sleep(600)

    process = multiprocessing.get_context('fork').Process(target=claim_for_ever)
    process.start()
    assert claimed.wait(60)
    told = f'run: process {process.pid} on .* is training there; wait for it or end it'
    for _ in range(2):  # to be refused does not end the lock
        with pytest.raises(UserError, match=told):
            folder.claim(resume=False)
    process.kill()
    process.join()
    folder.claim(resume=False)
    assert folder.lock.read_text().startswith(f'process {os.getpid()} on ')
    folder.release()


def test_keys_without_influence_are_keys():
    assert schema.keys_for({}).keys() >= checkpoints.KEYS_WITHOUT_INFLUENCE


def register(value):
    nn.clear_parameters()
    nn.parameter.get_parameter_or_create('w', (2, 3), lambda shape: np.full(shape, value))


def test_weights_of_a_run(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    assert not folder.occupied()
    assert folder.latest() is None
    folder.claim(resume=False)
    for iteration in (5, 10, 123456789, 20):
        register(iteration)
        assert folder.save_weights(iteration) == folder.weights(iteration)
    folder.save_best()
    folder.save_final()
    (folder.path / 'model_param_0007.h5').touch()  # not a name of ours
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


def test_weights_on_a_full_disk(tmp_path):
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


def test_a_run_from_elsewhere_goes_on_in_a_new_folder(tmp_path):
    RunFolder(tmp_path / 'new').claim(resume=True)
    assert (tmp_path / 'new').is_dir()


def test_a_file_is_no_folder_of_a_run(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file: is a file; name a folder'):
        RunFolder(tmp_path / 'file').claim(resume=False)


def test_the_config_of_a_run_is_a_config(tmp_path):
    folder = RunFolder(tmp_path)
    classes = '[' + ', '.join(f'größer {i}' for i in range(19)) + ']'
    overrides = ['lr=1e-5', 'min_lr=0', 'max_iter=7', f'classes={classes}']
    effective = config.load(overrides=overrides)
    folder.write_config(effective)
    again = config.load(folder.config)
    assert dict(again) == dict(effective)
    assert dict(effective) == yaml.safe_load(folder.config.read_text())
