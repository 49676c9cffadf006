"""Files of PyTorch's world, read without it: all formats, types, strides and shared storages."""

import io
import json
import struct

import numpy as np
import pytest

import models
from models.convert import checkpoints, matching
from support.checkpoint_writer import Call, Checkpoint, Global, Persistent, parameter, view

RNG = np.random.RandomState(0)
ARRAY = RNG.randn(3, 4, 2).astype(np.float32)


def arrays(path):
    """The arrays of a file, by name, of the group that is a network's."""
    (_, state), *_ = matching.states(checkpoints.read(path))
    return checkpoints.read_arrays(state, path)


def assert_holds(path, expected, name='a.weight'):
    found = arrays(path)[name]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
    ('element', 'exact'),
    [
        ('float32', ARRAY),
        ('float64', ARRAY),
        ('float16', ARRAY.astype(np.float16).astype(np.float32)),
        ('bfloat16', (ARRAY.view(np.uint32) & 0xFFFF0000).view(np.float32)),
        ('int64', np.trunc(ARRAY)),
        ('uint8', np.arange(24).reshape(3, 4, 2)),
    ],
)
def test_types_of_elements(tmp_path, element, exact, legacy):
    checkpoint = Checkpoint()
    values = exact if element == 'uint8' else ARRAY
    tree = checkpoint.state({'a.weight': values}, element=element)
    assert_holds(checkpoint.save(tmp_path / 'a.pth', tree, legacy), exact)


@pytest.mark.parametrize('element', ['float32', 'bfloat16'])
def test_a_big_endian_archive(tmp_path, element):
    checkpoint = Checkpoint('>')
    tree = checkpoint.state({'a.weight': [1.5, -2]}, element=element)
    assert_holds(checkpoint.save(tmp_path / 'a.pth', tree), [1.5, -2])


@pytest.mark.parametrize('legacy', [False, True])
def test_views_of_one_storage(tmp_path, legacy):
    """Strides that are not those of rows, offsets, a scalar, an empty and an expanded tensor."""
    checkpoint = Checkpoint()
    shared = checkpoint.storage(np.arange(24))
    tree = {
        'transposed': view(shared, 0, (4, 6), (1, 4)),
        'every_third': view(shared, 2, (7,), (3,)),
        'scalar': view(shared, 5, (), ()),
        'empty': view(shared, 0, (0, 3), (3, 1)),
        'expanded': view(shared, 7, (2, 3), (0, 0)),
        'parameter': parameter(view(shared, 0, (24,), (1,))),
    }
    found = arrays(checkpoint.save(tmp_path / 'a.pth', tree, legacy))
    flat = np.arange(24, dtype=np.float32)
    assert np.array_equal(found['transposed'], flat.reshape(6, 4).T)
    assert np.array_equal(found['every_third'], flat[2::3][:7])
    assert found['scalar'] == 5
    assert found['scalar'].shape == ()
    assert found['empty'].shape == (0, 3)
    assert np.array_equal(found['expanded'], np.full((2, 3), 7))
    assert np.array_equal(found['parameter'], flat)


def test_a_legacy_file_with_a_view_of_a_storage(tmp_path):
    """What PyTorch before 0.4 wrote: the persistent id itself says which part it is."""
    checkpoint = Checkpoint()
    whole = checkpoint.storage(np.arange(24))
    part = type(whole)((*whole.id, ('view', 6, 10)))
    tree = {'a.weight': view(part, 1, (3,), (2,)), 'b.weight': view(whole, 0, (24,), (1,))}
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy=True)
    assert_holds(path, [7, 9, 11])


@pytest.mark.parametrize('legacy', [False, True])
def test_what_else_checkpoints_hold_is_ignored(tmp_path, legacy):
    """Configurations, of classes that are not installed too, numpy scalars, optimizers."""
    checkpoint = Checkpoint()
    namespace = Call(Global('argparse', 'Namespace'), (), {'lr': 0.1}, new=True)
    config = Call(Global('no.such.package', 'Config'), (), {'depth': 18}, new=True)
    text = Call(Global('_codecs', 'encode'), ('abcdefgh', 'latin1'))
    scalar = Call(
        Global('numpy.core.multiarray', 'scalar'),
        (Call(Global('numpy', 'dtype'), ('f8', False, True), (3, '<', None)), text),
    )
    factory = (Global('__builtin__', 'list'),)
    tree = {
        'args': namespace,
        'cfg': config,
        'best': scalar,
        'device': Call(Global('torch', 'device'), ('cpu',)),
        'type': Global('torch', 'float16'),
        'size': Call(Global('torch', 'Size'), ((1, 2),)),
        'lists': Call(Global('collections', 'defaultdict'), factory),
        'epoch': 3,
        'state_dict': Call(
            Global('collections', 'OrderedDict'), (), {'_metadata': {'': {'version': 1}}}
        ),
        'model': checkpoint.state({'a.weight': ARRAY, 'b.weight': ARRAY}),
        'optimizer': {'state': {0: checkpoint.state(dict.fromkeys('abcde', ARRAY))}},
        'other': checkpoint.state({'c.weight': ARRAY}),
    }
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy)
    groups = matching.states(checkpoints.read(path))
    assert [(keys, list(group)) for keys, group in groups] == [
        ('model', ['a.weight', 'b.weight']),
        ('other', ['c.weight']),
    ]
    assert_holds(path, ARRAY)


def test_a_tensor_that_says_its_type_itself(tmp_path):
    """Types that are newer than the storages with a type."""
    checkpoint = Checkpoint()
    checkpoint.storages['0'] = np.arange(6, dtype='<u2').tobytes()
    storage = Persistent(('storage', Global('torch.storage', 'UntypedStorage'), '0', 'cpu', 12))
    hooks = Call(Global('collections', 'OrderedDict'))
    tensor = Call(
        Global('torch._utils', '_rebuild_tensor_v3'),
        (storage, 1, (2, 2), (2, 1), False, hooks, Global('torch', 'uint16')),
    )
    assert_holds(checkpoint.save(tmp_path / 'a.pth', {'a.weight': tensor}), [[1, 2], [3, 4]])


def test_no_tensors(tmp_path):
    path = Checkpoint().save(tmp_path / 'a.pth', {'state_dict': {}, 'epoch': 3})
    with pytest.raises(models.ModelError, match='no named tensors'):
        matching.states(checkpoints.read(path))


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    content = io.BytesIO()
    save(content, **{'a.weight': ARRAY.T, 'b.weight': ARRAY.astype('>f8')})
    (tmp_path / 'a.npz').write_bytes(content.getvalue())
    assert_holds(tmp_path / 'a.npz', ARRAY.T)
    assert_holds(tmp_path / 'a.npz', ARRAY, 'b.weight')


def safetensors(path, header, data):
    """A safetensors file."""
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack('<Q', len(text)) + text + data)
    return path


def entry(dtype, shape, begin, end):
    return dict(dtype=dtype, shape=shape, data_offsets=[begin, end])


def test_safetensors(tmp_path):
    header = {
        '__metadata__': {'format': 'pt'},
        'a.weight': entry('F32', [2, 3], 4, 28),
        'b.weight': entry('BF16', [2], 0, 4),
    }
    values = np.arange(6, dtype='<f4')
    path = safetensors(tmp_path / 'a.bin', header, b'\x80\x3f\x00\xc0' + values.tobytes())
    assert_holds(path, values.reshape(2, 3))
    assert_holds(path, [1, -2], 'b.weight')


@pytest.mark.parametrize('length', range(120, 140))
def test_safetensors_are_recognised_whatever_the_length_of_their_header(tmp_path, length):
    """One of these lengths is also the byte that a pickle starts with."""
    text = json.dumps({'a.weight': entry('F32', [1], 0, 4)}).encode().ljust(length)
    assert_holds(safetensors(tmp_path / 'a', text, np.float32(3).tobytes()), [3])


@pytest.mark.parametrize('suffix', checkpoints.WRITABLE_SUFFIXES)
def test_what_is_written_reads_back(tmp_path, suffix):
    state = {'a.weight': ARRAY, 'b.bias': ARRAY[0, 0]}
    checkpoints.write(tmp_path / f'a{suffix}', state)
    found = arrays(tmp_path / f'a{suffix}')
    assert list(found) == list(state)
    assert all(np.array_equal(found[n], state[n]) for n in state)
    assert [p.name for p in tmp_path.iterdir()] == [f'a{suffix}']
