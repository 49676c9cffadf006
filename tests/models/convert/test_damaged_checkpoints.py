"""Damaged, truncated and foreign checkpoint files are refused in one line."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

import models
from models.convert import checkpoints, matching
from support.checkpoint_writer import (
    Checkpoint,
    Global,
    Persistent,
    encoded,
    pickled,
    safetensors_entry,
    view,
    write_archive,
    write_safetensors,
)
from support.conversions import assert_refused


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('count', [25, 1 << 50])
def test_a_storage_larger_than_its_bytes_is_refused(tmp_path, count, legacy):
    checkpoint = Checkpoint()
    checkpoint.storage(np.arange(24))
    storage = Persistent(('storage', Global('torch', 'FloatStorage'), '0', 'cpu', count))
    path = checkpoint.save(tmp_path / 'a.pth', {'a': view(storage, 0, (24,), (1,))}, legacy)
    assert_refused(path, 'ends within a storage' if legacy else 'is of 96 bytes')


def test_a_missing_storage_is_refused(tmp_path):
    for key in ('1', '../data.pkl', '../../etc/passwd', ''):
        storage = Persistent(('storage', Global('torch', 'FloatStorage'), key, 'cpu', 24))
        tree = {'a': view(storage, 0, (24,), (1,))}
        assert_refused(Checkpoint().save(tmp_path / 'a.pth', tree), 'is (missing|of [0-9]+ bytes)')


def test_a_legacy_storage_with_two_different_sizes_is_refused(tmp_path):
    checkpoint = Checkpoint()
    tree = {'a': checkpoint.tensor(np.arange(24))}
    path = checkpoint.save(tmp_path / 'a.pth', tree, legacy=True)
    content = path.read_bytes()
    for count in (23, 25, -1, 1 << 62):
        path.write_bytes(content[:-104] + struct.pack('<q', count) + content[-96:])
        assert_refused(path, 'size of the storage .* contradicts its tensors')


def test_an_archive_that_expands_is_refused(tmp_path):
    """Compressed zeros, and many records on the same bytes, as archives can have them."""
    checkpoint = Checkpoint()
    tree = {'a': checkpoint.tensor(np.zeros(1 << 20))}
    records = {'data.pkl': pickled(tree), 'data/0': bytes(4 << 20)}
    path = write_archive(tmp_path / 'a.pth', records, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    assert_refused(path, 'its records are compressed; load it with torch.load, and save it')
    path = write_archive(tmp_path / 'b.pth', {'data.pkl': pickled(tree), 'data/0': b'1234'})
    content = bytearray(path.read_bytes())
    at = content.rindex(b'PK\x01\x02', 0, content.rindex(b'archive/data/0')) + 20
    content[at : at + 8] = struct.pack('<II', 4 << 20, 4 << 20)
    path.write_bytes(content)
    assert_refused(path, 'claims? more bytes than the file has')


def test_an_npz_file_larger_than_its_bytes_is_refused(tmp_path):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, dict(descr='<f4', fortran_order=False, shape=(1 << 40,))
    )
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as file:
        file.writestr('a.npy', content.getvalue())
    assert_refused(tmp_path / 'a.npz', 'size of a.npy contradicts its shape')
    np.savez(tmp_path / 'b.npz', a=np.array([{}], dtype=object))
    assert_refused(tmp_path / 'b.npz', 'not numeric')


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        ({'a': safetensors_entry('F32', [3], 0, 8)}, 'size of a contradicts its shape'),
        (
            {'a': safetensors_entry('F32', [1 << 62, 1 << 62], 0, 8)},
            'size of a contradicts its shape',
        ),
        ({'a': safetensors_entry('F32', [2], 8, 16)}, 'beyond the file'),
        ({'a': safetensors_entry('F32', [-2, -1], 0, 8)}, 'size of a contradicts its shape'),
        ({'a': safetensors_entry('F8_E4M3', [8], 0, 8)}, 'unsupported type F8_E4M3'),
        ({'a': {'dtype': 'F32'}}, 'a has no shape'),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}', 'twice'),
        (b'{' + b'"a":{' * 100_000, 'its header: not valid JSON: it is nested too deeply'),
        (b'{"a"', 'its header: not valid JSON'),
    ],
)
def test_invalid_safetensors_headers_are_refused(tmp_path, header, message):
    assert_refused(write_safetensors(tmp_path / 'a', header, bytes(8)), message)


def test_files_of_other_formats_are_refused(tmp_path):
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
        assert_refused(path, message)
    write_archive(path, {'data.pkl': pickled({}), 'constants.pkl': b''})
    assert_refused(path, 'a TorchScript archive')
    write_archive(path, {'readme.txt': b''})
    assert_refused(path, 'neither of torch.save nor of numpy')
    assert_refused(tmp_path / 'none.pth', 'no such file')
    assert_refused(tmp_path, 'cannot be converted')


@pytest.mark.filterwarnings('ignore:invalid escape sequence')  # in what has become a string
@pytest.mark.parametrize('legacy', [False, True])
def test_random_damage_is_refused_or_only_changes_numbers(tmp_path, legacy):
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


def test_a_changed_number_in_an_archive_is_detected(tmp_path):
    """Archives have checksums."""
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor([1.5, 2.5])})
    content = path.read_bytes()
    path.write_bytes(content.replace(encoded([1.5], 'float32'), encoded([1.25], 'float32')))
    assert_refused(path, 'damaged .*CRC')


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    """The arrays are read on demand; those of a mapped file would end the process."""
    values = np.arange(6, dtype=np.float32)
    checkpoint = Checkpoint()
    legacy = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor(values)}, legacy=True)
    checkpoints.write(tmp_path / 'a.safetensors', {'a': values})
    for path in (legacy, tmp_path / 'a.safetensors'):
        state = checkpoints.read(path)
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(models.ModelError, match='damaged .the file has changed'):
            checkpoints.read_arrays(state, path)
