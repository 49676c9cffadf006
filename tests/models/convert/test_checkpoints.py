"""Checkpoint files of every format are read without PyTorch, with all types and views."""

import io
import json

import numpy as np
import pytest

from models.convert import checkpoints, matching
from support.checkpoint_writer import (
    Call,
    Checkpoint,
    Global,
    Persistent,
    parameter,
    safetensors_entry,
    view,
    write_safetensors,
)

RNG = np.random.RandomState(0)
ARRAY = RNG.randn(3, 4, 2).astype(np.float32)


def arrays(path):
    """Return the arrays of a file by name, of the group of the network."""
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
def test_every_element_type_is_decoded(tmp_path, element, exact, legacy):
    checkpoint = Checkpoint()
    values = exact if element == 'uint8' else ARRAY
    tree = checkpoint.state({'a.weight': values}, element=element)
    assert_holds(checkpoint.save(tmp_path / 'a.pth', tree, legacy), exact)


@pytest.mark.parametrize('element', ['float32', 'bfloat16'])
def test_a_big_endian_archive_is_decoded(tmp_path, element):
    checkpoint = Checkpoint('>')
    tree = checkpoint.state({'a.weight': [1.5, -2]}, element=element)
    assert_holds(checkpoint.save(tmp_path / 'a.pth', tree), [1.5, -2])


@pytest.mark.parametrize('legacy', [False, True])
def test_views_of_a_shared_storage_are_exact(tmp_path, legacy):
    """Transposed, strided, scalar, empty and expanded tensors, with offsets."""
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


def test_a_persistent_id_that_names_a_part_of_a_storage(tmp_path):
    """PyTorch before 0.4 wrote such ids."""
    checkpoint = Checkpoint()
    whole = checkpoint.storage(np.arange(24))
    part = type(whole)((*whole.id, ('view', 6, 10)))
    tree = {'a.weight': view(part, 1, (3,), (2,)), 'b.weight': view(whole, 0, (24,), (1,))}
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy=True)
    assert_holds(path, [7, 9, 11])


def test_a_tensor_of_an_untyped_storage_has_its_own_type(tmp_path):
    """Element types that are newer than typed storages."""
    checkpoint = Checkpoint()
    checkpoint.storages['0'] = np.arange(6, dtype='<u2').tobytes()
    storage = Persistent(('storage', Global('torch.storage', 'UntypedStorage'), '0', 'cpu', 12))
    hooks = Call(Global('collections', 'OrderedDict'))
    tensor = Call(
        Global('torch._utils', '_rebuild_tensor_v3'),
        (storage, 1, (2, 2), (2, 1), False, hooks, Global('torch', 'uint16')),
    )
    assert_holds(checkpoint.save(tmp_path / 'a.pth', {'a.weight': tensor}), [[1, 2], [3, 4]])


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_an_npz_file_is_read(tmp_path, save):
    content = io.BytesIO()
    save(content, **{'a.weight': ARRAY.T, 'b.weight': ARRAY.astype('>f8')})
    (tmp_path / 'a.npz').write_bytes(content.getvalue())
    assert_holds(tmp_path / 'a.npz', ARRAY.T)
    assert_holds(tmp_path / 'a.npz', ARRAY, 'b.weight')


def test_a_safetensors_file_is_read(tmp_path):
    header = {
        '__metadata__': {'format': 'pt'},
        'a.weight': safetensors_entry('F32', [2, 3], 4, 28),
        'b.weight': safetensors_entry('BF16', [2], 0, 4),
    }
    values = np.arange(6, dtype='<f4')
    path = write_safetensors(tmp_path / 'a.bin', header, b'\x80\x3f\x00\xc0' + values.tobytes())
    assert_holds(path, values.reshape(2, 3))
    assert_holds(path, [1, -2], 'b.weight')


@pytest.mark.parametrize('length', range(120, 140))
def test_safetensors_with_any_length_of_header_are_recognised(tmp_path, length):
    """One of these lengths equals the first byte of a pickle."""
    text = json.dumps({'a.weight': safetensors_entry('F32', [1], 0, 4)}).encode().ljust(length)
    assert_holds(write_safetensors(tmp_path / 'a', text, np.float32(3).tobytes()), [3])


@pytest.mark.parametrize('suffix', checkpoints.WRITABLE_SUFFIXES)
def test_written_arrays_are_read_back(tmp_path, suffix):
    state = {'a.weight': ARRAY, 'b.bias': ARRAY[0, 0]}
    checkpoints.write(tmp_path / f'a{suffix}', state)
    found = arrays(tmp_path / f'a{suffix}')
    assert list(found) == list(state)
    assert all(np.array_equal(found[n], state[n]) for n in state)
    assert [p.name for p in tmp_path.iterdir()] == [f'a{suffix}']
