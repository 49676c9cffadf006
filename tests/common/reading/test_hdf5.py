"""HDF5 files of unknown origin: plain ones are read to the bit, all others end in one line."""

import tracemalloc
import zlib

import h5py
import numpy as np
import pytest

from common.reading import hdf5, hdf5_structure

RNG = np.random.RandomState(0)
ARRAYS = {
    'a/conv/W': RNG.randn(5, 3, 3, 3).astype(np.float32),
    'a/conv/b': RNG.randn(5).astype('>f4'),
    'b/größe': RNG.randn(7, 2),
    'b/half': RNG.randn(2, 3).astype(np.float16),
    'b/number': np.array(2**40),
    'b/flags': np.array([True, False]),
    'b/none': np.zeros((0, 3), np.uint8),
}


def read(path):
    """Return all arrays of a file."""
    names = hdf5.list_arrays(path)
    with h5py.File(path, 'r') as file:
        return {name: hdf5.read(file, name) for name in names}


def refusal(path):
    """Return the one line that refuses a file, which is found without memory for its values."""
    tracemalloc.start()
    with pytest.raises(hdf5.HDF5_ERRORS) as caught:
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    text = hdf5.problem(caught.value, 'a file of weights')
    assert text.isprintable()
    return text


@pytest.mark.parametrize('libver', ['earliest', 'latest'])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'chunks': True},
        {'chunks': True, 'compression': 'gzip', 'shuffle': True, 'fletcher32': True},
        {'chunks': True, 'compression': 'lzf', 'shuffle': True},
        {'chunks': True, 'compression': 'gzip', 'maxshape': True},
    ],
    ids=str,
)
def test_files_of_h5py_are_read_to_the_bit(libver, options, tmp_path):
    arrays = ARRAYS | {f'many/{number}/W': np.full((40, 3), number, 'f4') for number in range(12)}
    with h5py.File(tmp_path / 'a.h5', 'w', libver=libver) as file:
        for name, array in arrays.items():
            own = dict(options) if array.size and array.ndim else {}
            if own:
                own['chunks'] = tuple(-(-length // 2) for length in array.shape)
            if 'maxshape' in own:
                own['maxshape'] = (None,) * array.ndim
            file.create_dataset(name, data=array, **own)
    found = read(tmp_path / 'a.h5')
    assert sorted(found) == sorted(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def test_values_in_the_header_are_read(tmp_path):
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        space = h5py.h5s.create_simple((5,))
        dataset = h5py.h5d.create(file.id, b'W', h5py.h5t.IEEE_F32LE, space, compact)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, ARRAYS['a/conv/W'][0, 0, 0].repeat(2)[:5])
    assert read(tmp_path / 'a.h5')['W'].shape == (5,)
    content = (tmp_path / 'a.h5').read_bytes()
    claim = content.replace((5).to_bytes(8, 'little'), (5 * 10**9).to_bytes(8, 'little'))
    (tmp_path / 'a.h5').write_bytes(claim)
    assert 'size of compact dataset' in refusal(tmp_path / 'a.h5')


def external(file):
    file.create_dataset('a/W', (27,), 'u4', external=[('/etc/pass\x1bwd', 0, 108)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), 'f4')
    layout[:] = h5py.VirtualSource('none.h5', 'W', shape=(4,))
    file.create_virtual_dataset('a/W', layout)


def virtual_in_itself(file):
    layout = h5py.VirtualLayout((4,), 'f4')
    layout[:] = h5py.VirtualSource('.', 'a/W', shape=(4,))
    file.create_virtual_dataset('a/W', layout)


def soft_link(file):
    file['b'] = np.ones(3, 'f4')
    file['a/W'] = h5py.SoftLink('/b')


def external_link(file):
    file['a/W'] = h5py.ExternalLink('other.h5', '/W')


def group_in_itself(file):
    file['a/W'] = file.create_group('a')


def root_in_itself(file):
    file.create_group('a')['W'] = file['/']


def two_names(file):
    file['a/V'] = np.ones(3, 'f4')
    file['a/W'] = file['a/V']


@pytest.mark.parametrize(
    ('write', 'problem', 'remedy'),
    [
        (external, r"a/W takes its values from another file, '/etc/pass\x1bwd'", 'use a file that'),
        (virtual, 'a/W takes its values from elsewhere', 'use a file that'),
        (virtual_in_itself, 'a/W takes its values from elsewhere', 'use a file that'),
        (soft_link, 'a/W is a link to another name', 'write it again with nn.save_parameters'),
        (external_link, 'a/W is a link to another file', 'use a file that'),
        (group_in_itself, 'a/W is a second name', 'write it again with nn.save_parameters'),
        (root_in_itself, 'a/W is a second name', 'write it again with nn.save_parameters'),
        (two_names, 'a/W is a second name', 'write it again with nn.save_parameters'),
    ],
)
def test_what_leads_elsewhere_is_refused(write, problem, remedy, tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w', libver='latest') as file:
        write(file)
    text = refusal(tmp_path / 'a.h5')
    assert problem in text
    assert f'; {remedy}' in text


@pytest.mark.parametrize('name', [b'..', b'a\x1b[31m', b'a\nb', b'\xff\xfe', 'a\u202eb'.encode()])
def test_names_that_are_no_text_are_refused(name, tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['plain'] = np.ones(3, 'f4')
        file.id.links.create_hard(name, file.id, b'plain')
        del file['plain']
    assert 'is not text' in refusal(tmp_path / 'a.h5')


def test_names_of_any_length_are_not_followed(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = file
        for _ in range(300):
            group = group.create_group('deep')
    assert 'has more than 1024 characters' in refusal(tmp_path / 'a.h5')


@pytest.mark.parametrize(
    'content',
    [
        'text',
        np.array([b'fixed']),
        np.ones(2, np.complex64),
        np.ones(2, np.longdouble),
        np.ones(2, [('a', 'f4'), ('b', 'f4')]),
        np.ones(2, h5py.enum_dtype({'a': 1})),
        np.zeros(2, 'V4'),
        h5py.Empty('f4'),
    ],
    ids=lambda content: str(getattr(content, 'dtype', 'text')),
)
def test_other_things_than_numbers_are_refused(content, tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('a/W', data=content, dtype=getattr(content, 'dtype', None))
    assert 'a/W is not numeric' in refusal(tmp_path / 'a.h5')


def test_references_and_unusual_numbers_are_refused(tmp_path):
    unusual = h5py.h5t.IEEE_F32LE.copy()
    unusual.set_ebias(100)
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('W', data=file.ref, dtype=h5py.ref_dtype)
        file.create_dataset('V', (2,), np.dtype(('f4', (3,))))
    assert 'V is not numeric' in refusal(tmp_path / 'a.h5')
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.create_dataset('W', data=file.ref, dtype=h5py.ref_dtype)
    assert 'W is not numeric' in refusal(tmp_path / 'a.h5')
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        space = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b'W', unusual, space).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.ones(2, 'f4')
        )
    assert 'W is not numeric' in refusal(tmp_path / 'a.h5')


HUGE = (10**6, 10**6)
CLAIMS = {
    'without storage': dict(shape=HUGE),
    'with a fill value': dict(shape=HUGE, fillvalue=1),
    'without chunks': dict(shape=HUGE, chunks=(1000, 1000)),
    'of few bytes': dict(shape=(3,)),
    'of a large chunk': dict(shape=(3,), maxshape=(None,), chunks=(1 << 28,)),
    'with another filter': dict(shape=(4, 4), chunks=(2, 2), scaleoffset=2),
}


@pytest.mark.parametrize('claim', CLAIMS)
def test_sizes_that_the_file_does_not_hold_are_refused(claim, tmp_path):
    for libver in ('earliest', 'latest'):
        with h5py.File(tmp_path / 'a.h5', 'w', libver=libver) as file:
            file.create_dataset('a/W', dtype='f4', **CLAIMS[claim])
        assert 'a/W' in refusal(tmp_path / 'a.h5')


def test_arrays_that_share_their_bytes_are_refused(tmp_path):
    names = [f'W{number}' for number in range(8)]
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        for name in names:
            file.create_dataset(name, (4000,), 'f4')
        file.flush()
        for name in names:
            file[name][...] = 1
        offsets = [file[name].id.get_offset() for name in names]
    content = (tmp_path / 'a.h5').read_bytes()
    assert offsets == sorted(offsets)
    whole, end = (number.to_bytes(8, 'little') for number in (len(content), offsets[1]))
    for offset in offsets[1:]:
        content = content.replace(offset.to_bytes(8, 'little'), offsets[0].to_bytes(8, 'little'))
    (tmp_path / 'a.h5').write_bytes(content.replace(whole, end)[: offsets[1]])
    text = refusal(tmp_path / 'a.h5')
    assert 'W1 and the arrays before it need more bytes than the file has' in text


PACKED = {
    'gzip': (
        zlib.compress(b'abcd'),
        zlib.compress(bytes(50_000_000)),
        zlib.compress(bytes(4000))[:-9],
    ),
    'lzf': (b'\x03abcd', b'\x00a' + bytes([0xE0, 250, 0]) * 200_000, b'\xff'),
}


@pytest.mark.parametrize('compression', PACKED)
def test_chunks_that_unpack_to_another_size_are_refused(compression, tmp_path):
    """HDF5 would return the memory behind a short one, and allocate all of a long one."""
    for raw in PACKED[compression]:
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            options = dict(chunks=(1000,), compression=compression)
            file.create_dataset('a/W', (1000,), 'f4', **options).id.write_direct_chunk((0,), raw)
        assert 'a/W: the chunk at (0,) unpacks to another size' in refusal(tmp_path / 'a.h5')


def test_arrays_that_unpack_to_far_more_than_the_file_are_refused(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        options = dict(chunks=(1 << 23,), compression='gzip')
        dataset = file.create_dataset('a/W', (1 << 27,), 'f4', **options)
        for start in range(0, 1 << 27, 1 << 23):  # 32 MiB each
            dataset.id.write_direct_chunk((start,), b'short')
    text = refusal(tmp_path / 'a.h5')
    assert f'a/W and the arrays before it unpack to {1 << 29} bytes' in text
    assert '; write it again with nn.save_parameters' in text


def test_an_array_in_very_many_chunks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_structure, 'MAX_CHUNKS', 100)
    for count, problem in (
        (60, 'b and the arrays before it have 120 chunks'),
        (101, 'a has 101 chunks'),
    ):
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            for name in 'ab':
                file.create_dataset(name, data=np.ones(count, 'f4'), chunks=(1,))
        assert problem in refusal(tmp_path / 'a.h5')


def test_a_chunk_stored_without_its_filter_is_compared_too(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        dataset = file.create_dataset('W', (1000,), 'f4', chunks=(1000,), compression='gzip')
        dataset.id.write_direct_chunk((0,), b'abcd', filter_mask=1)
    assert 'W claims 4 bytes for the chunk at (0,)' in refusal(tmp_path / 'a.h5')


def test_attributes_are_a_text_or_few_numbers(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w', libver='latest') as file:
        file.attrs.update({'text': 'größe', 'number': 2, 'numbers': (1.5, 2)})
        file.attrs['texts'] = ['a', 'b']
        file.attrs['fixed'] = np.bytes_('a')
        file.attrs['reference'] = file.ref
        file.attrs['many'] = np.zeros(100_000)
        names = [*file.attrs, 'none']
    found = hdf5.attributes(tmp_path / 'a.h5', names)
    assert found == {'text': 'größe', 'number': 2, 'numbers': [1.5, 2.0]}
