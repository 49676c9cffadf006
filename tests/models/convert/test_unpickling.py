"""Hostile pickles: none of their code runs, and they are refused in one line."""

import struct
import sys

import numpy as np
import pytest

from common.log import PrintableFormatter
from models.convert import checkpoints, matching
from models.convert.pickled_names import Inert
from support.checkpoint_writer import (
    Call,
    Checkpoint,
    Global,
    Persistent,
    opcodes,
    pickled,
    view,
    write_archive,
)
from support.conversions import assert_refused

CODE = 'open("was_run", "w")'
ATTACKS = {
    'os.system': Call(Global('os', 'system'), ('touch was_run',)),
    'posix.system': Call(Global('posix', 'system'), ('touch was_run',)),
    'builtins.eval': Call(Global('builtins', 'eval'), (CODE,)),
    'builtins.exec': Call(Global('__builtin__', 'exec'), (CODE,)),
    'builtins.getattr': Call(Global('builtins', 'getattr'), ('a', 'upper')),
    'subprocess.Popen': Call(Global('subprocess', 'Popen'), (['touch', 'was_run'],), new=True),
    'runpy._run_code': Call(Global('runpy', '_run_code'), (CODE, {})),
    'torch.load': Call(Global('torch', 'load'), ('x.pth',)),
    'torch.storage._load_from_bytes': Call(
        Global('torch.storage', '_load_from_bytes'), (pickled(1).decode('latin1'),)
    ),
    'torch.jit.load': Call(Global('torch.jit', 'load'), ('x.pth',)),
    'numpy.load': Call(Global('numpy', 'load'), ('x.npy',)),
    'importlib.import_module': Call(Global('importlib', 'import_module'), ('antigravity',)),
    'functools.partial': Call(Global('functools', 'partial'), (Global('os', 'system'), 'ls')),
    'builtins.bytearray': Call(Global('builtins', 'bytearray'), (1 << 40,)),
}


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('name', ATTACKS)
def test_names_that_could_run_code_are_refused(tmp_path, monkeypatch, name, legacy):
    monkeypatch.chdir(tmp_path)
    tree = {'state_dict': Checkpoint().state({}), 'x': ATTACKS[name]}
    path = Checkpoint().save(tmp_path / 'a.pth', tree, legacy)
    assert_refused(path, f'a.pth: cannot be converted .*{name}')
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_other_packages_are_neither_imported_nor_called(tmp_path, monkeypatch):
    """Calls reach an inert object, even for a module that could be imported."""
    (tmp_path / 'trap.py').write_text('open("was_run", "w")\ndef spring(): open("was_run", "w")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint()
    tree = checkpoint.state({'a.weight': [1, 2]}) | {
        'x': Call(Global('trap', 'spring')),
        'y': Call(Global('trap', 'Config.spring'), (), {'a': 1}, new=True),
        'z': Call(Global('models.weights', 'save'), ('was_run',)),
        'w': Call(Call(Global('trap', 'spring')), ()),
    }
    path = checkpoint.save(tmp_path / 'a.pth', {k: v for k, v in tree.items() if k != 'w'})
    (_, state), *_ = matching.states(checkpoints.read(path))
    assert list(state) == ['a.weight']
    assert_refused(checkpoint.save(tmp_path / 'b.pth', tree), 'not callable')
    assert not (tmp_path / 'was_run').exists()
    assert 'trap' not in sys.modules


def test_a_pickle_cannot_modify_the_functions_that_rebuild_tensors(tmp_path):
    """BUILD would set attributes of functions and types, which persist after the file is read."""
    for name, module in (
        ('_rebuild_tensor_v2', 'torch._utils'),
        ('FloatStorage', 'torch'),
        ('float32', 'torch'),
    ):
        state = (None, {'function': 1, 'name': 'uint8', '__call__': 2})
        changed = opcodes(Global(module, name)) + opcodes(state) + b'b'
        records = {'data.pkl': b'\x80\x02' + changed + b'.'}
        assert_refused(write_archive(tmp_path / 'a.pth', records), 'it changes a')
    for module, name in (('collections', 'OrderedDict'), ('any', 'Thing')):
        changed = opcodes(Global(module, name)) + opcodes({'keys': 1}) + b'b'
        records = {'data.pkl': b'\x80\x02' + changed + b'.'}
        assert_refused(write_archive(tmp_path / 'a.pth', records), 'it changes a')
    checkpoint = Checkpoint()
    tensor = checkpoint.tensor([1.0])
    tree = {'a': Call(tensor.function, tensor.arguments, {'shape': (9,)})}
    assert_refused(checkpoint.save(tmp_path / 'a.pth', tree), 'it changes a tensor')


@pytest.mark.parametrize(
    'number',
    [
        Persistent(('storage', Global('torch', 'FloatStorage'), '0', 'cpu', 24)),
        ('module', Global('torch', 'FloatStorage'), '0', 'cpu', 24),
        ('storage', Global('os', 'environ'), '0', 'cpu', 24),
        ('storage', 'torch.FloatStorage', '0', 'cpu', 24),
        ('storage', Global('torch', 'FloatStorage'), 0, 'cpu', 24),
        ('storage', Global('torch', 'FloatStorage'), '0', 'cpu', -24),
        ('storage', Global('torch', 'FloatStorage'), '0', 'cpu', 24, ('v', 0, 24)),
        ('storage', Persistent('0'), '0', 'cpu', 24),
        ('storage',),
        'storage',
    ],
)
def test_invalid_persistent_ids_are_refused(tmp_path, number):
    """Nested ids, other kinds, keys that are not text, views that the format does not have."""
    checkpoint = Checkpoint()
    checkpoint.storage(np.arange(24))
    tree = {'a': view(Persistent(number), 0, (24,), (1,))}
    assert_refused(
        checkpoint.save(tmp_path / 'a.pth', tree), 'not a storage|os.environ|is of|damaged'
    )


@pytest.mark.parametrize(
    'tree',
    [
        view({'not': 'a storage'}, 0, (1,), (1,)),
        Call(Global('torch._utils', '_rebuild_parameter'), ({}, True, {})),
        Call(Global('torch._tensor', '_rebuild_from_type_v2'), ('f', 't', (), {})),
        Call(Global('torch._utils', '_rebuild_sparse_tensor'), ()),
        Call(Global('torch.nn.modules.container', 'Sequential'), (), {}, new=True),
        Call(Global('torch', 'Size'), (3,)),
        Call(Global('torch', 'Size'), ([3],)),
        Call(Global('torch._utils', '_rebuild_tensor'), (1,)),
    ],
)
def test_tensors_rebuilt_from_other_objects_are_refused(tmp_path, tree):
    assert_refused(Checkpoint().save(tmp_path / 'a.pth', {'a': tree}), 'a.pth: (cannot|truncated)')


def test_a_memo_index_that_would_fill_the_memory_is_refused(tmp_path):
    stream = b'\x80\x02}r' + struct.pack('<I', 0xFFFFFFF0) + b'.'
    assert_refused(
        write_archive(tmp_path / 'a.pth', {'data.pkl': stream}), 'memo index out of range'
    )


DOUBLED = b'K\x01\x85' + b'2\x86' * 60  # a tuple of twice the same, sixty times


@pytest.mark.parametrize(
    'stream',
    [
        b'}' + DOUBLED + b'Ns',
        b'}(' + DOUBLED + b'Nu',
        b'(' + DOUBLED + b'Nd',
        b'\x8f(' + DOUBLED + b'\x90',
        b'(' + DOUBLED + b'\x91',
        b'cbuiltins\nset\n]' + DOUBLED + b'a\x85R',
        b'cbuiltins\nfrozenset\n]' + DOUBLED + b'a\x85R',
        b'ccollections\nOrderedDict\n]' + DOUBLED + b'N\x86a\x85R',
    ],
)
def test_keys_that_take_forever_to_hash_are_left_out(tmp_path, stream):
    """The keys are in dictionaries and sets, created by every possible opcode or call."""
    tree = b'\x80\x04}(' + opcodes('a') + stream + opcodes('b') + b'K\x01u.'
    found = checkpoints.read(write_archive(tmp_path / 'a.pth', {'data.pkl': tree}))
    assert found['b'] == 1
    assert found['a'] == {} or isinstance(found['a'], Inert)


def test_storage_keys_that_take_forever_to_compare_are_refused(tmp_path):
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor([1.0])}, legacy=True)
    content, keys = path.read_bytes(), pickled(['0'])
    assert content.count(keys) == 1
    path.write_bytes(content.replace(keys, b'\x80\x02](' + DOUBLED + DOUBLED + b'e.'))
    assert_refused(path, 'storages are missing or unused')


def test_keys_that_are_not_text_are_left_out(tmp_path):
    checkpoint = Checkpoint()
    tree = {'state_dict': checkpoint.state({'a.weight': [1.0]})}
    tree['more'] = {7: 2, 1.5: 2, True: 3, None: 4, ('a', 1): 5, 'b': 6}
    scalar = Call(Global('numpy.core.multiarray', 'scalar'))
    path = checkpoint.save(tmp_path / 'a.pth', tree | {'scores': {scalar: 1, b'x': 2}})
    found = checkpoints.read(path)
    assert list(found['state_dict']) == ['a.weight']
    assert found['more'] == {'b': 6}
    assert found['scores'] == {}


def test_objects_of_any_number_of_classes_are_ignored(tmp_path):
    many = [Call(Global('any', f'Thing{i}'), (i,), {'a': i}) for i in range(2000)]
    path = Checkpoint().save(tmp_path / 'a.pth', {'x': many})
    assert all(isinstance(thing, Inert) for thing in checkpoints.read(path)['x'])


def test_ignored_objects_are_logged(tmp_path, caplog):
    caplog.set_level('INFO', 'nnseg')
    names = ['argparse.Namespace', 'yacs.config.CfgNode', 'mmcv.Con\x1bfig']
    tree = {n: Call(Global(*n.rsplit('.', 1))) for n in names}
    checkpoints.read(Checkpoint().save(tmp_path / 'a.pth', tree))
    (line,) = [PrintableFormatter().format(record) for record in caplog.records]
    assert line == r'ignored objects that are not arrays: mmcv.Con\x1bfig, yacs.config.CfgNode'


def test_control_characters_are_not_printed(tmp_path):
    escape = '\x1b]0;title\x07'
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', checkpoint.state({escape: [1.0]}))
    assert_refused(path, 'not printable')
    path = checkpoint.save(tmp_path / 'a.pth', Call(Global('os', f'system{escape}')))
    assert_refused(path, r'os\.system\\x1b\]0;title\\x07,')


@pytest.mark.parametrize(
    'stream',
    [
        b'\x80\x02\x82\x01.',  # EXT1: a name by number
        b'\x80\x05\x97.',  # NEXT_BUFFER
        b'\x80\x05\x96' + struct.pack('<Q', 1 << 60) + b'.',  # BYTEARRAY8
        b'\x80\x02X' + struct.pack('<I', 1 << 31) + b'.',
        b'\x80\x02' + b'(' * 1000,
        b'\x80\x02R.',
        b'\x80\x02}\x80',
        b'\x80\x63.',
        b'',
    ],
)
def test_invalid_pickles_are_refused(tmp_path, stream):
    assert_refused(
        write_archive(tmp_path / 'a.pth', {'data.pkl': stream}), 'a.pth: (cannot|truncated)'
    )
