"""Training states are loaded bit for bit, or refused in one line; saving is atomic."""

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

from common.errors import UserError
from engine.config import schema
from engine.runs import checkpoints
from engine.runs.run_folder import RunFolder
from models import weights
from support import programs, training_states
from support.training_states import assert_equal, make_state


def load_error(path):
    """Return the one-line error of a refused file, after a check that it names the file."""
    with pytest.raises(UserError) as caught:
        checkpoints.load(path)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_state_is_loaded_bit_for_bit(tmp_path):
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


def test_tuples_are_loaded_as_lists(tmp_path):
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
def test_a_value_that_would_not_be_loaded_unchanged_is_refused(change, tmp_path):
    with pytest.raises(ValueError, match=next(iter(change))):
        checkpoints.save(tmp_path / 'state.h5', dataclasses.replace(make_state(), **change))
    assert not os.listdir(tmp_path)


def test_other_files_and_damaged_states_are_refused(tmp_path):
    assert 'leave out --resume' in load_error(tmp_path / 'none.h5')
    assert 'no such training state' in load_error(tmp_path)
    foreign = tmp_path / 'foreign.h5'
    for content in (b'', b'\x89HDF\r\n\x1a\n', os.urandom(2000), b'\n' * 600):
        foreign.write_bytes(content)
        assert 'is not a training state; start from weights' in load_error(foreign)
    nn.parameter.get_parameter_or_create('w', (2, 3))
    weights.save(foreign)
    assert 'is not a training state' in load_error(foreign)
    checkpoints.save(foreign, make_state())
    content = foreign.read_bytes()
    foreign.write_bytes(content[:-1])
    assert f'is truncated: it has {len(content) - 1} bytes' in load_error(foreign)
    foreign.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert 'is damaged' in load_error(foreign)
    foreign.write_bytes(content.replace(b'state 2', b'state 9', 1))
    assert 'another version of this program' in load_error(foreign)


def test_any_damage_is_a_one_line_error_or_harmless(tmp_path):
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


def written(path):
    """Return facts, names and arrays of a state as they are stored."""
    checkpoints.save(path, make_state())
    with h5py.File(path, 'r') as file:
        facts, names = (json.loads(file[name][()].tobytes()) for name in ('facts', 'names'))
        groups = {group: range(len(each)) for group, each in names.items()}
        places = [f'{group}/{number}' for group, each in groups.items() for number in each]
        return facts, names, {place: file[place][()] for place in places}


ABSENT = object()


@pytest.mark.parametrize(
    ('name', 'values'),
    {
        'iteration': (-1, 2**60, 1.5, '8', None, True, ABSENT),
        'loader': ([], ABSENT, {'cursor': [float('nan')]}),
        'loss_scale': (
            {},
            {'factor': float('inf'), 'good_steps': 1},
            {'factor': 0, 'good_steps': 1},
            {'factor': '1', 'good_steps': 1},
        ),
        'best': ({'miou': 0.5}, {'miou': None, 'iteration': 1}, [0.5, 1]),
        'seed': (2**32, -1, None),
        'config': (None, [], ABSENT),
        'processes': (0, 1.0),
        'options': ({'-t': 1}, ['-t']),
        'versions': ({'nnabla': 1}, ABSENT),
        'name': (1, 'a\x1b[31m'),
        'extras': (
            {'seconds': 'x'},
            {'pending': [[1, 2, 3]]},
            {'pending': {}},
            {'pending_tasks': [[1.0], [1.0, 2.0]]},
            {'pending_tasks': [['x']]},
        ),
        'task_scales': (
            {},
            [1.0],
            {'scales': [1.0], 'norms': [], 'short': [1.0, 2.0], 'long': [1.0]},
            {'scales': [0.0], 'norms': [], 'short': [1.0], 'long': [1.0]},
            {'scales': ['1'], 'norms': [], 'short': [1.0], 'long': [1.0]},
            {'scales': [1.0], 'norms': [1.0, 2.0], 'short': [1.0], 'long': [1.0]},
        ),
        'scaled': (1, None),
        'unknown': (1,),
    }.items(),
)
def test_facts_of_another_type_are_refused_by_name(name, values, tmp_path):
    """A digest does not prove who wrote a file."""
    path = tmp_path / 'state.h5'
    facts, names, arrays = written(path)
    for value in values:
        changed = {key: each for key, each in {**facts, name: value}.items() if each is not ABSENT}
        training_states.write(path, changed, names, arrays)
        message = load_error(path)
        assert f'{name}' in message.partition('cannot be read')[2]
        assert message.endswith(checkpoints.ADVICE)
        with pytest.raises(UserError, match=name):
            checkpoints.load_facts(path)


@pytest.mark.parametrize(
    'content',
    [b'', b'[]', b'null', b'\xff', b'[' * 100_000, b'1' * 5000],
    ids=range(6),
)
def test_facts_that_are_no_json_are_refused(content, tmp_path):
    _, names, arrays = written(tmp_path / 'state.h5')
    training_states.write(tmp_path / 'state.h5', content, names, arrays)
    load_error(tmp_path / 'state.h5')


def test_names_and_arrays_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / 'state.h5'
    facts, names, arrays = written(path)
    some = names['parameters']
    for changed in (
        [],
        None,
        {**names, 'parameters': None},
        {**names, 'parameters': some[:-1]},
        {**names, 'parameters': [*some, 'more']},
        {**names, 'parameters': [some[0]] * len(some)},
        {**names, 'parameters': [1, 2, 3]},
        {**names, 'further': []},
        {'parameters': some, 'solver': names['solver']},
    ):
        training_states.write(path, facts, changed, arrays)
        assert 'names' in load_error(path)
    training_states.write(path, facts, names, {**arrays, 'parameters/x': np.ones(2)})
    assert 'its names do not fit its arrays' in load_error(path)


def test_arrays_of_a_state_are_finite_numbers_inside_of_it(tmp_path):
    path = tmp_path / 'state.h5'
    facts, names, arrays = written(path)
    for value, problem in ((np.nan, 'NaN'), (np.inf, 'infinity')):
        bad = {**arrays, 'average/0': np.full((4, 3, 3, 20), value, np.float32)}
        training_states.write(path, facts, names, bad)
        assert f'z/conv/W of the average has {problem}' in load_error(path)
        checkpoints.load_facts(path)
    for array in (np.ones(2, np.complex64), np.array([b'text'])):
        training_states.write(path, facts, names, {**arrays, 'solver/0': array})
        assert 'solver/0 is not numeric' in load_error(path)
    training_states.write(path, facts, names, {**arrays, 'solver/0': h5py.SoftLink('/facts')})
    assert 'solver/0 is a link to another name' in load_error(path)


def save_endlessly(path):
    for iteration in range(1, 10**6):
        checkpoints.save(path, make_state(iteration, seed=iteration, size=3000))


def test_a_killed_process_leaves_a_complete_state(tmp_path):
    folder = RunFolder(tmp_path)
    rng = random.Random(0)
    last, leftovers = 0, 0
    for kills in range(1, 300):
        process = multiprocessing.get_context('fork').Process(
            target=save_endlessly, args=(folder.state,)
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
        pytest.fail('no process was killed while it replaced a file')


def test_a_full_disk_keeps_the_earlier_state(tmp_path):
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


def test_config_changes_skip_keys_without_influence():
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


def test_option_changes():
    old, new = {'-t': 'float', '--tf32': 'off'}, {'-t': 'float', '--tf32': 'on'}
    assert checkpoints.option_changes(old, new) == ['--tf32: on was off']
    assert checkpoints.option_changes(new, new) == []


def test_keys_without_influence_exist():
    assert schema.keys_for({}).keys() >= checkpoints.KEYS_WITHOUT_INFLUENCE
