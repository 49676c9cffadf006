"""Checkpoints that would take hours or fill the memory are refused in one line, or read quickly.

Each is small; a program that does what it says exceeds the time limit of a test.
"""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

import models
from models.convert import archives, checkpoints, matching, npz, safetensors, unpickling
from support.checkpoint_writer import (
    Call,
    Checkpoint,
    Global,
    opcodes,
    pickled,
    safetensors_entry,
    view,
    write_archive,
    write_safetensors,
)
from support.conversions import assert_refused

MEGA = 1 << 20
LITTLE_MEMORY = 5 * MEGA  # bytes


def assert_refused_in_little_memory(path, message):
    tracemalloc.start()
    assert_refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE_MEMORY


def binary(number: int, count: int = 4) -> bytes:
    return number.to_bytes(count, 'little')


def save(folder, stream, protocol=2):
    """Write the opcodes of an object as a checkpoint with a storage '0' of one element."""
    records = {'data.pkl': b'\x80' + bytes([protocol]) + stream + b'.', 'data/0': bytes(4)}
    return write_archive(folder / 'a.pth', records)


def tensor(shape, strides, offset=0):
    """Return the opcodes of a view of the storage '0'."""
    return opcodes(view(Checkpoint().storage([0.0]), offset, shape, strides))


PAIRS = b'](' + b'](X\x01\x00\x00\x00aNe' * 1000 + b'e'


def test_a_tensor_that_is_larger_than_its_storage_is_named(tmp_path):
    """A stride of zero repeats an element; the name is that in the dictionary."""
    for wrapped in (False, True):
        checkpoint = Checkpoint()
        large = view(checkpoint.storage([1.0]), 0, (10**6, 10**6), (0, 0))
        if wrapped:
            large = Call(Global('torch._utils', '_rebuild_parameter'), (large, True, {}))
        path = checkpoint.save(tmp_path / 'a.pth', {'b.weight': 1, 'a.weight': large})
        assert_refused(path, r'a\.weight: a tensor of \[1000000, 1000000\] reaches beyond its')
    missing = view(Checkpoint().storage([1.0]), 0, (1,), (1,))
    path = Checkpoint().save(tmp_path / 'a.pth', {'a.weight': missing})
    assert_refused(path, r"a\.weight: the storage '0' of 4 bytes is missing")


def test_many_tensors_on_one_storage_are_refused_together(tmp_path, monkeypatch):
    checkpoint = Checkpoint()
    shared = checkpoint.storage(np.zeros(1024))
    names = [f'a{i}' for i in range(200)]
    tree = {name: view(shared, 0, (32, 32), (32, 1)) for name in names}
    path = checkpoint.save(tmp_path / 'a.pth', tree)
    monkeypatch.setattr(checkpoints, 'SPARE_BYTES', 0)
    (_, state), *_ = matching.states(checkpoints.read(path))
    with pytest.raises(models.ModelError, match=r'up to a\d+, are much larger than the file'):
        checkpoints.read_arrays(state, path)


def test_a_name_twice_for_a_tensor_is_no_fault(tmp_path):
    checkpoint = Checkpoint()
    shared = checkpoint.storage(np.arange(6))
    tree = {name: view(shared, 0, (2, 3), (3, 1)) for name in ('encoder.w', 'decoder.w')}
    tree['scalar'] = view(checkpoint.storage([2.0]), 0, (5000,), (0,))
    path = checkpoint.save(tmp_path / 'a.pth', tree)
    (_, state), *_ = matching.states(checkpoints.read(path))
    arrays = checkpoints.read_arrays(state, path)
    assert np.array_equal(arrays['decoder.w'], np.arange(6).reshape(2, 3))
    assert np.array_equal(arrays['scalar'], np.full(5000, 2))


@pytest.mark.parametrize(
    ('stream', 'message'),
    [
        (b'\x8b' + binary(MEGA) + b'\x7f' * MEGA, 'an integer of 1,048,576 bytes'),
        (b'I' + b'9' * MEGA + b'\n', 'an integer of 1,048,576 bytes'),
        (b'L' + b'9' * MEGA + b'L\n', 'an integer of 1,048,577 bytes|an integer of 1,048,576'),
        (tensor((2,) * 5000, (0,) * 5000), 'invalid shape, strides or offset'),
        (tensor((1,), (1,), offset=1 << 64), 'invalid shape, strides or offset'),
        (b'c' + b'a' * MEGA + b'\nb\n', 'a name of 1,048,576 characters'),
        (b'}X' + binary(MEGA) + b'a' * MEGA + b'Ns', r'a\.\.\.: a name of 1,048,576 characters'),
        (b'X' + binary(MEGA) + b'a' * MEGA + b'q\x00' + b'h\x00\x93' * 9, 'a name of 1,048,576'),
        (b'N' + b''.join(b'p%d\n' % (i * (2**61 - 1)) for i in range(99)), 'memo index out of'),
        (b'\x96' + struct.pack('<Q', 1 << 40), 'its pickle ends early'),
        (b'\x97', 'forbidden opcode 0x97'),
        (b'ca\nb', 'a line of its pickle has no end'),
        (b'\x8e' + struct.pack('<Q', 1 << 60), 'its pickle ends early'),
        (b'Pabc\n', 'forbidden opcode 0x50'),
        (b'(' + b'N' * 99 + b'tQ', 'not a storage'),
        (b'(' + b'N' * 99 + b'tq\x00cany\nThing\nh\x00R' + b'h\x00R' * 9, 'which is not callable'),
        (b'ctorch\nSize\n]\x85R', 'a size is not a tuple'),
        (b'ctorch\nSize\n(' + b'N' * 99 + b'tR', 'something else than a few arguments'),
        (b'ccollections\nOrderedDict\n](]e\x85R', 'an item that is no pair'),
        (
            PAIRS + b'\x85q\x00ccollections\nOrderedDict\nq\x01' + b'h\x01h\x00R' * 1000,
            'more than [0-9,]+ steps',
        ),
    ],
)
def test_opcodes_that_take_time_or_memory_are_refused(tmp_path, stream, message):
    assert_refused(save(tmp_path, stream, 4), message)


def test_steps_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickling, 'MAX_STEPS', 1000)
    assert_refused(save(tmp_path, b'}' * 2000), 'takes more than 1,000 steps to read')
    path = Checkpoint().save(tmp_path / 'a.pth', {'a': 1}, legacy=True)
    assert checkpoints.read(path) == {'a': 1}
    path = Checkpoint().save(tmp_path / 'a.pth', {'a': [1] * 2000}, legacy=True)
    assert_refused(path, 'takes more than 1,000 steps to read')


def test_calls_of_ignored_objects_do_not_copy_their_arguments(tmp_path):
    """Calls with the same 100,000 arguments, which would take minutes to copy."""
    for opcode in (b'R', b'\x81', b'}\x92'):
        calls = b'0h\x01h\x00' + opcode
        stream = b'(' + b'N' * 100_000 + b'tq\x00cany\nThing\nq\x01' + calls * 3000
        checkpoints.read(save(tmp_path, stream + b'0}', 4))


def test_objects_that_contain_themselves_are_read(tmp_path):
    """Dictionaries and lists in themselves, tuples that double, and deep nesting."""
    doubled = b'K\x01\x85' + b'2\x86' * 200
    parts = {
        'self': b'}q\x00' + opcodes('state_dict') + b'h\x00s',
        'list': b']q\x01h\x01a',
        'doubled': doubled,
        'deep': b']' * 5000 + b'a' * 4999,
        'dictionaries': (b'}' + opcodes('a')) * 2000 + b'N' + b's' * 2000,
        'sets': b'\x8f' * 1000 + b'(' + doubled + b'\x90' + b'0' * 999,
        'text': b"S'abc'\n",
        'bytes': b'\x96' + struct.pack('<Q', 2) + b'ab',
        'numbers': b'(I01\nI7\nL8L\nF1.5\nl',
        'w': tensor((1,), (1,)),
    }
    stream = b'}(' + b''.join(opcodes(k) + part for k, part in parts.items()) + b'u'
    found = checkpoints.read(save(tmp_path, stream, 4))
    assert list(found) == list(parts)
    assert found['bytes'] == b'ab'
    assert (found['text'], found['numbers']) == ('abc', [True, 7, 8, 1.5])
    assert [list(state) for _, state in matching.states(found)] == [['w']]


def test_frames_of_the_wrong_length_do_not_matter(tmp_path):
    """They only help to read ahead."""
    for length in (0, 1, 1 << 62):
        stream = b'\x95' + struct.pack('<Q', length) + b'}' + opcodes('a') + b'K\x05s'
        assert checkpoints.read(save(tmp_path, stream, 4)) == {'a': 5}


def test_more_tensors_than_any_network_has_are_refused(tmp_path, monkeypatch):
    for module in (matching, npz, safetensors):
        monkeypatch.setattr(module, 'MAX_TENSORS', 99)
    names = b''.join(opcodes(f'k{i}') + b'h\x07' for i in range(100))
    stream = tensor((1,), (1,)) + b'q\x070}(' + names + b'u'
    assert_refused(save(tmp_path, stream), '100 tensors in one dictionary')
    state = {f'a{i}': np.zeros(0, np.float32) for i in range(100)}
    for path in (tmp_path / 'a.npz', tmp_path / 'a.safetensors'):
        checkpoints.write(path, state)
        assert_refused(path, 'it has 100 arrays')


def test_groups_with_long_paths_are_shortened(tmp_path):
    long = opcodes('z' * 1000)
    groups = b''.join(opcodes(f'k{i}') + b'}' + opcodes('a') + b'h\x07s' for i in range(500))
    stream = tensor((1,), (1,)) + b'q\x070}' + long + b'}' + long + b'}(' + groups + b'uss'
    found = matching.states(checkpoints.read(save(tmp_path, stream)))
    assert len(found) == 500
    assert max(len(keys) for keys, _ in found) < 300


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        ({'a': safetensors_entry('F32', [1 << 62] * 20_000, 0, 8)}, 'size of a contradicts'),
        ({'a': safetensors_entry('F32', [1 << 62] * 20_000 + [0], 0, 0)}, 'size of a contradicts'),
        ({'a': safetensors_entry('F32', '12', 0, 8)}, 'size of a contradicts'),
        ({'a': safetensors_entry('F32', [True], 0, 4)}, 'size of a contradicts'),
        ({'a': safetensors_entry(['F32'], [2], 0, 8)}, 'unsupported type'),
        ({'a': safetensors_entry('F' * MEGA, [2], 0, 8)}, r'unsupported type F{197}\.\.\.;'),
        ({'a' * MEGA: safetensors_entry('F32', [3], 0, 8)}, r'size of a{197}\.\.\. contradicts'),
        ({x: safetensors_entry('F32', [2], 0, 8) for x in 'ab'}, 'b overlaps with another'),
        ({'a': [1, 2]}, 'a has no shape'),
        (b'{"a":' + b'9' * MEGA + b'}', 'its header: not valid JSON.* too many digits'),
        (b'{"a":[' + b'[],' * 4_000_000 + b'[]]}', 'its header has 12,000,010 bytes'),
        (b'{"\xff":1}', 'its header: '),
    ],
)
def test_headers_of_safetensors_that_take_time_or_memory(tmp_path, header, message):
    assert_refused(write_safetensors(tmp_path / 'a.st', header, bytes(8)), message)


def write_npy(path, header, version=1, data=bytes(4), compression=zipfile.ZIP_STORED):
    """Write an ``.npz`` archive of one array, whose header is a text."""
    text = header.encode('latin1')
    length = binary(len(text), 2 if version == 1 else 4)
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr('a.npy', b'\x93NUMPY' + bytes([version, 0]) + length + text + data)
    return path


HEADER = "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        *(
            (HEADER.format("'<f4'", False, shape), 'a.npy is not numeric, or its header')
            for shape in (
                *('(1,', '(-1,)', '(True,)', '(1.0,)', "('1',)", '((1,),)', '1', 'None'),
                *('(' * 9000, '[' * 9000, '-' * 9000 + '1', '1+' * 4000 + '1', '(' + '1 ' * 4000),
                '(' + '9' * 9000 + ',)',
            )
        ),
        *(
            (HEADER.format(dtype, False, '(1,)'), 'a.npy is not numeric, or its header')
            for dtype in ("'|O'", "[('a', '<f4')]", "'<c8'", "'<U9'", 'open', "'|V4'")
        ),
        (HEADER.format("'f3'", False, '(1,)'), 'a.npz: truncated or damaged'),
        (HEADER.format("'<f4'", 1, '(1,)'), 'a.npy is not numeric, or its header'),
        (HEADER.format('(1,)', False, "'<f4'"), r'a.npy has the descr \(1,\) in its header'),
        (HEADER.format("'<f4'", False, f'({1 << 62}, 4)'), 'size of a.npy contradicts'),
        (HEADER.format("'<f4'", False, f'(0, {1 << 63})'), 'size of a.npy contradicts'),
        (HEADER.format("'<f4'", False, '(' + '1,' * 4000 + ')'), 'size of a.npy contradicts'),
        ("{'descr': '<f4', 'shape': (1,)}", 'a.npy is not numeric, or its header'),
        (' ' * 20_000, 'a header of 20,000 bytes'),
    ],
)
def test_headers_of_npz_are_never_evaluated(tmp_path, header, message):
    assert_refused(write_npy(tmp_path / 'a.npz', header), message)


@pytest.mark.parametrize('version', [1, 2, 3])
def test_headers_of_other_writers_are_read(tmp_path, version):
    """Other orders of the keys, quotes and spaces, and the integers of Python 2."""
    value = np.float32(1.5).tobytes()
    for header in (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1L,)}\n",
        '{"shape":(1,),"fortran_order":True,"descr":"<f4"}',
        " { 'fortran_order' : False, 'descr' : '<f4', 'shape' : ( 1 , ) , } ",
    ):
        path = write_npy(tmp_path / 'a.npz', header, version, value)
        found = checkpoints.read_arrays(checkpoints.read(path), path)
        assert found['a'] == np.float32([1.5])
    path = write_npy(tmp_path / 'a.npz', HEADER.format("'<f4'", False, '(1,)'), 4)
    assert_refused(path, 'not an array of numpy')


def patched(path, offset, value, count):
    """Change a field of the last entry in the directory of an archive."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b'PK\x01\x02') + offset
    content[at : at + count] = binary(value, count)
    path.write_bytes(content)
    return path


def test_archives_that_unfold_are_refused(tmp_path):
    header = HEADER.format("'<f4'", False, '(1,)')
    path = write_npy(tmp_path / 'a.npz', header, 1, bytes(20 * MEGA), zipfile.ZIP_DEFLATED)
    size = 10 + len(header) + 4
    patched(path, 24, size, 4)  # it unfolds to more
    assert_refused_in_little_memory(path, 'Bad CRC')
    assert_refused(patched(path, 24, 1 << 31, 4), 'a.npy claims more bytes than the file has')
    for codec in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        write_npy(path, header, compression=codec)
        assert_refused(path, 'compressed as neither torch.save nor numpy does')
    assert_refused(patched(write_npy(path, header), 8, 1, 2), 'the archive is encrypted')


def test_directories_of_archives_are_checked(tmp_path, monkeypatch):
    path = write_npy(tmp_path / 'a.npz', HEADER.format("'<f4'", False, '(1,)'))
    content = path.read_bytes()
    at, end = content.index(b'PK\x01\x02'), content.index(b'PK\x05\x06')
    copies = [content[at:end].replace(b'a.npy', b'%d.npy' % i) for i in range(9)]

    def save_directory(entries, count):
        directory = b''.join(entries)
        tail = struct.pack('<HHHHIIH', 0, 0, count, count, len(directory), at, 0)
        path.write_bytes(content[:at] + directory + b'PK\x05\x06' + tail)
        return path

    assert_refused(save_directory(copies, 9), 'records of the archive claim more bytes')
    assert_refused(save_directory(copies[:1], 2), 'another number of records than it claims')
    assert_refused(save_directory(copies[:1] * 2, 2), 'two records .* the same name')
    monkeypatch.setattr(archives, 'MAX_DIRECTORY_BYTES', 50)
    assert_refused(save_directory(copies[:1], 1), 'too many records')


def test_legacy_lists_of_storages_are_checked(tmp_path):
    checkpoint = Checkpoint()
    path = checkpoint.save(tmp_path / 'a.pth', {'a': checkpoint.tensor([1.0])}, legacy=True)
    content, keys = path.read_bytes(), pickled(['0'])
    for other in (['0', '0'], ['1'], [], '0', {'0': 1}, [0], ['a' * MEGA]):
        path.write_bytes(content.replace(keys, pickled(other)))
        assert_refused(path, 'storages are missing or unused')
    for part in ((0, 5), ('v', 0, 2), ('v', -1, 1), ('v', 'a', 1), ('v', 0, 1, 2)):
        checkpoint = Checkpoint()
        whole = checkpoint.storage([1.0])
        storage = type(whole)((*whole.id, part))
        tree = {'w': view(storage, 0, (1,), (1,)), 'whole': view(whole, 0, (1,), (1,))}
        path = checkpoint.save(tmp_path / 'b.pth', tree, legacy=True)
        assert_refused(path, 'w: a view .* storage')
