"""Hostile and damaged checkpoints: nothing in them is run, and all are refused in one line."""

import io
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

import models
from models.convert import checkpoints, matching
from support.checkpoint_writer import (
    Call,
    Checkpoint,
    Global,
    Persistent,
    encoded,
    opcodes,
    pickled,
    view,
)
from tests.models.test_convert_files import entry, safetensors


def refused(path, message):
    """The file is refused when it is read, or when its arrays are, in one line."""
    with pytest.raises(models.ModelError, match=message) as caught:
        for _, state in matching.states(checkpoints.read(path)):
            checkpoints.read_arrays(state, path)
    assert '\n' not in str(caught.value)


def archive(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as file:
        for name, content in records.items():
            file.writestr(f'archive/{name}', content)
    return path


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
def test_names_that_are_not_allowed(tmp_path, monkeypatch, name, legacy):
    monkeypatch.chdir(tmp_path)
    tree = {'state_dict': Checkpoint().state({}), 'x': ATTACKS[name]}
    path = Checkpoint().save(tmp_path / 'a.pth', tree, legacy)
    refused(path, f'a.pth: cannot be converted .*{name}')
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_other_packages_are_neither_imported_nor_called(tmp_path, monkeypatch):
    """What is called is an inert object, even of a module that could be imported."""
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
    refused(checkpoint.save(tmp_path / 'b.pth', tree), 'not callable')
    assert not (tmp_path / 'was_run').exists()
    assert 'trap' not in sys.modules


def test_what_rebuilds_tensors_cannot_be_changed(tmp_path):
    """BUILD would set attributes of functions and types that outlive the file."""
    for name, module in (
        ('_rebuild_tensor_v2', 'torch._utils'),
        ('FloatStorage', 'torch'),
        ('float32', 'torch'),
    ):
        state = (None, {'function': 1, 'name': 'uint8', '__call__': 2})
        changed = opcodes(Global(module, name)) + opcodes(state) + b'b'
        records = {'data.pkl': b'\x80\x02' + changed + b'.'}
        refused(archive(tmp_path / 'a.pth', records), 'it changes a')
    for module, name in (('collections', 'OrderedDict'), ('any', 'Thing')):
        changed = opcodes(Global(module, name)) + opcodes({'keys': 1}) + b'b'
        records = {'data.pkl': b'\x80\x02' + changed + b'.'}
        refused(archive(tmp_path / 'a.pth', records), 'not the pickle of a checkpoint')
    checkpoint = Checkpoint()
    tensor = checkpoint.tensor([1.0])
    tree = {'a': Call(tensor.function, tensor.arguments, {'shape': (9,)})}
    refused(checkpoint.save(tmp_path / 'a.pth', tree), 'it changes a tensor')


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
    ('offset', 'shape', 'strides'),
    [
        (0, (25,), (1,)),
        (1, (24,), (1,)),
        (0, (2, 12), (13, 1)),
        (0, (2,), (24,)),
        (1 << 62, (1,), (1,)),
        (0, (1 << 62, 1 << 62), (0, 0)),
        (0, (1 << 40, 2), (0, 0)),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, offset, shape, strides, legacy):
    checkpoint = Checkpoint()
    tree = {'a': view(checkpoint.storage(np.arange(24)), offset, shape, strides)}
    refused(checkpoint.save(tmp_path / 'a.pth', tree, legacy), 'reaches beyond its storage')


@pytest.mark.parametrize(
    ('offset', 'shape', 'strides'),
    [
        (-1, (2,), (1,)),
        (23, (2,), (-1,)),
        (0, (-2, -3), (1, 1)),
        (0, (2, 3), (1,)),
        (0.5, (2,), (1,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, (1,) * 40, (1,) * 40),
        (0, 'ab', 'cd'),
    ],
)
def test_impossible_shapes_strides_and_offsets(tmp_path, offset, shape, strides):
    checkpoint = Checkpoint()
    tree = {'a': view(checkpoint.storage(np.arange(24)), offset, shape, strides)}
    refused(checkpoint.save(tmp_path / 'a.pth', tree), 'invalid shape, strides or offset')


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('count', [25, 1 << 50])
def test_storages_that_claim_more_than_is_there(tmp_path, count, legacy):
    checkpoint = Checkpoint()
    checkpoint.storage(np.arange(24))
    storage = Persistent(('storage', Global('torch', 'FloatStorage'), '0', 'cpu', count))
    path = checkpoint.save(tmp_path / 'a.pth', {'a': view(storage, 0, (24,), (1,))}, legacy)
    refused(path, 'ends within a storage' if legacy else 'is of 96 bytes')


def test_storages_that_are_not_there(tmp_path):
    for key in ('1', '../data.pkl', '../../etc/passwd', ''):
        storage = Persistent(('storage', Global('torch', 'FloatStorage'), key, 'cpu', 24))
        tree = {'a': view(storage, 0, (24,), (1,))}
        refused(Checkpoint().save(tmp_path / 'a.pth', tree), 'is (missing|of [0-9]+ bytes)')


def test_a_legacy_storage_whose_two_sizes_differ(tmp_path):
    checkpoint = Checkpoint()
    tree = {'a': checkpoint.tensor(np.arange(24))}
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy=True)
    content = path.read_bytes()
    for count in (23, 25, -1, 1 << 62):
        path.write_bytes(content[:-104] + struct.pack('<q', count) + content[-96:])
        refused(path, 'size of the storage .* contradicts its tensors')


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
def test_persistent_ids_that_are_no_storages(tmp_path, number):
    """Nested ones, other kinds, keys that are not text, views that the format does not have."""
    checkpoint = Checkpoint()
    checkpoint.storage(np.arange(24))
    tree = {'a': view(Persistent(number), 0, (24,), (1,))}
    refused(checkpoint.save(tmp_path / 'a.pth', tree), 'not a storage|os.environ|is of|damaged')


@pytest.mark.parametrize(
    'tree',
    [
        view({'not': 'a storage'}, 0, (1,), (1,)),
        Call(Global('torch._utils', '_rebuild_parameter'), ({}, True, {})),
        Call(Global('torch._tensor', '_rebuild_from_type_v2'), ('f', 't', (), {})),
        Call(Global('torch._utils', '_rebuild_sparse_tensor'), ()),
        Call(Global('torch.nn.modules.container', 'Sequential'), (), {}, new=True),
        Call(Global('torch', 'Size'), (3,)),
        Call(Global('builtins', 'set'), (3,)),
    ],
)
def test_tensors_of_something_else(tmp_path, tree):
    refused(Checkpoint().save(tmp_path / 'a.pth', {'a': tree}), 'a.pth: (cannot|truncated)')


def test_a_bomb(tmp_path):
    """Much packed into little, and many records on the same bytes, as archives can have them."""
    checkpoint = Checkpoint()
    tree = {'a': checkpoint.tensor(np.zeros(1 << 20))}
    records = {'data.pkl': pickled(tree), 'data/0': bytes(4 << 20)}
    path = archive(tmp_path / 'a.pth', records, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    refused(path, 'claim more bytes than the file has')
    path = archive(tmp_path / 'b.pth', {'data.pkl': pickled(tree), 'data/0': b'1234'})
    content = bytearray(path.read_bytes())
    at = content.rindex(b'PK\x01\x02', 0, content.rindex(b'archive/data/0')) + 20
    content[at : at + 8] = struct.pack('<II', 4 << 20, 4 << 20)
    path.write_bytes(content)
    refused(path, 'claim more bytes than the file has')


def test_an_npz_that_claims_more_than_is_there(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, dict(descr='<f4', fortran_order=False, shape=(1 << 40,))
    )
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as file:
        file.writestr('a.npy', content.getvalue())
    refused(tmp_path / 'a.npz', 'size contradicts its shape')
    np.savez(tmp_path / 'b.npz', a=np.array([{}], dtype=object))
    refused(tmp_path / 'b.npz', 'not numeric')


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        ({'a': entry('F32', [3], 0, 8)}, 'size of a contradicts its shape'),
        ({'a': entry('F32', [1 << 62, 1 << 62], 0, 8)}, 'size of a contradicts its shape'),
        ({'a': entry('F32', [2], 8, 16)}, 'beyond the file'),
        ({'a': entry('F32', [-2, -1], 0, 8)}, 'size of a contradicts its shape'),
        ({'a': entry('F8_E4M3', [8], 0, 8)}, 'unsupported type F8_E4M3'),
        ({'a': {'dtype': 'F32'}}, 'damaged'),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}', 'twice'),
        (b'{' + b'"a":{' * 100_000, 'damaged'),
        (b'{"a"', 'damaged'),
    ],
)
def test_safetensors_headers(tmp_path, header, message):
    refused(safetensors(tmp_path / 'a', header, bytes(8)), message)


def test_a_memo_that_would_fill_the_memory(tmp_path):
    stream = b'\x80\x02}r' + struct.pack('<I', 0xFFFFFFF0) + b'.'
    refused(archive(tmp_path / 'a.pth', {'data.pkl': stream}), 'memo index out of range')


def test_a_dictionary_a_thousand_times_within_itself(tmp_path):
    """It is looked through once, not a thousand million times."""
    items = b''.join(opcodes(f'k{i}') + b'h\x00' for i in range(1000))
    records = {'data.pkl': b'\x80\x02}q\x00(' + items + b'u.'}
    refused(archive(tmp_path / 'a.pth', records), 'no named tensors')


DOUBLED = b'K\x01\x85' + b'2\x86' * 60  # a tuple of twice the same, sixty times


@pytest.mark.parametrize(
    'stream',
    [
        b'}' + DOUBLED + b'Ns.',
        b'}(' + DOUBLED + b'Nu.',
        b'(' + DOUBLED + b'Nd.',
        b'\x8f(' + DOUBLED + b'\x90.',
        b'(' + DOUBLED + b'\x91.',
        b'cbuiltins\nset\n]' + DOUBLED + b'a\x85R.',
        b'cbuiltins\nfrozenset\n]' + DOUBLED + b'a\x85R.',
        b'ccollections\nOrderedDict\n]' + DOUBLED + b'N\x86a\x85R.',
    ],
)
def test_keys_that_take_forever_to_hash(tmp_path, stream):
    """Of dictionaries and sets, however they are made."""
    path = archive(tmp_path / 'a.pth', {'data.pkl': b'\x80\x04' + stream})
    refused(path, 'a key of a dictionary is not a plain value')


def test_keys_of_storages_that_take_forever_to_compare(tmp_path):
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor([1.0])}, legacy=True)
    content, keys = path.read_bytes(), pickled(['0'])
    assert content.count(keys) == 1
    path.write_bytes(content.replace(keys, b'\x80\x02](' + DOUBLED + DOUBLED + b'e.'))
    refused(path, 'storages are missing or unused')


def test_plain_keys_are_taken(tmp_path):
    checkpoint = Checkpoint()
    tree = {'state_dict': checkpoint.state({'a.weight': [1.0]})}
    tree['more'] = {7: 2, 1.5: 2, True: 3, None: 4, ('a', 1): 5}
    scalar = Call(Global('numpy.core.multiarray', 'scalar'))
    path = checkpoint.save(tmp_path / 'a.pth', tree | {'scores': {scalar: 1, b'x': 2}})
    assert checkpoints.read(path)['more'] == tree['more']


def test_objects_of_many_classes(tmp_path):
    """One class for each name, of which there are not too many."""
    same = [Call(Global('any', 'Thing'), (i,)) for i in range(2000)]
    path = Checkpoint().save(tmp_path / 'a.pth', {'x': same})
    assert len({type(thing) for thing in checkpoints.read(path)['x']}) == 1
    many = [Call(Global('any', f'Thing{i}')) for i in range(2000)]
    path = Checkpoint().save(tmp_path / 'b.pth', {'x': many})
    refused(path, 'objects of more than 1000 classes')


def test_what_is_ignored_is_told(tmp_path, caplog):
    caplog.set_level('INFO', 'nnseg')
    names = ['argparse.Namespace', 'yacs.config.CfgNode', 'mmcv.Con\x1bfig']
    tree = {n: Call(Global(*n.rsplit('.', 1))) for n in names}
    checkpoints.read(Checkpoint().save(tmp_path / 'a.pth', tree))
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == 'ignored objects that are not arrays: mmcv.Con?fig, yacs.config.CfgNode'


def test_names_that_would_steer_a_terminal(tmp_path):
    escape = '\x1b]0;title\x07'
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', checkpoint.state({escape: [1.0]}))
    refused(path, 'not printable')
    path = checkpoint.save(tmp_path / 'a.pth', Call(Global('os', f'system{escape}')))
    refused(path, 'os.system[?]]0;title[?],')


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
def test_pickles_that_are_none(tmp_path, stream):
    refused(archive(tmp_path / 'a.pth', {'data.pkl': stream}), 'a.pth: (cannot|truncated)')


def test_files_of_something_else(tmp_path):
    path = tmp_path / 'a.pth'
    for content, message in (
        (b'', 'is empty'),
        (b'hello' * 9, 'none of torch.save'),
        (b'\x89HDF\r\n\x1a\n' + bytes(20), 'an HDF5 file.*--to-pytorch'),
        (b'\x80\x02}q\x00.', 'not of torch.save'),
        (pickle.dumps({'a': 1}), 'not of torch.save'),
        (bytes(257) + b'ustar' + bytes(300), 'a tar archive'),
        (b'PK\x03\x04' + bytes(50), 'damaged'),
    ):
        path.write_bytes(content)
        refused(path, message)
    archive(path, {'data.pkl': pickled({}), 'constants.pkl': b''})
    refused(path, 'a TorchScript archive')
    archive(path, {'readme.txt': b''})
    refused(path, 'neither of torch.save nor of numpy')
    refused(tmp_path / 'none.pth', 'no such file')
    refused(tmp_path, 'cannot be converted')


@pytest.mark.filterwarnings('ignore:invalid escape sequence')  # in what has become a string
@pytest.mark.parametrize('legacy', [False, True])
def test_any_damage_is_refused_or_only_changes_numbers(tmp_path, legacy):
    checkpoint = Checkpoint()
    values = {f'{i}.weight': np.arange(6.0) for i in range(9)}
    path = checkpoint.save(tmp_path / 'a.pth', checkpoint.state(values), legacy)
    content, rng = path.read_bytes(), np.random.RandomState(0)
    outcomes = set()
    for _ in range(400):
        changed = bytearray(content)
        start, length = rng.randint(len(content)), rng.choice([1, 1, 4, 50])
        changed[start : start + length] = rng.bytes(len(changed[start : start + length]))
        path.write_bytes(changed[: rng.choice([len(changed), rng.randint(1, len(changed))])])
        try:
            for _, state in matching.states(checkpoints.read(path)):
                found = checkpoints.read_arrays(state, path)
                assert all(a.dtype == np.float32 and a.size <= 54 for a in found.values())
            outcomes.add('read')
        except models.ModelError as error:
            assert '\n' not in str(error)
            outcomes.add('refused')
    assert outcomes == {'read', 'refused'}


def test_a_changed_number_in_an_archive_is_noticed(tmp_path):
    """Archives have checksums."""
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor([1.5, 2.5])})
    content = path.read_bytes()
    path.write_bytes(content.replace(encoded([1.5], 'float32'), encoded([1.25], 'float32')))
    refused(path, 'damaged .*CRC')
