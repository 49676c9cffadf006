"""Matrices of MAT-files, as SciPy writes and reads them; damaged files end in one kind of error."""

import io

import numpy as np
import pytest
import scipy.io

from common.errors import InputError
from datasets.readers import mat_files

LABELS = np.random.RandomState(0).randint(0, 183, (21, 34)).astype(np.uint8)
OTHERS = {'names': np.array(['a', 'b'], object), 'regions': np.arange(12.0).reshape(3, 4)}


def write(compressed=False, **arrays):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays, do_compression=compressed)
    return buffer.getvalue()


def read(data, name='S', most=10_000):
    def check_size(width, height):
        if width * height > most:
            raise InputError(f'{width}x{height}')

    return mat_files.read_uint8(data, name, check_size)


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('shape', [(21, 34), (1, 3), (1, 1), (7, 1)])
def test_reads_what_scipy_writes(compressed, shape):
    labels = np.ascontiguousarray(LABELS[: shape[0], : shape[1]])
    for arrays in ({'S': labels, **OTHERS}, {**OTHERS, 'S': labels}):
        found = read(write(compressed, **arrays))
        assert np.array_equal(found, labels)
        assert found.dtype == np.uint8


def test_reads_published_files(shared):
    folder = shared / 'data/samples/cocostuff10k_from164k/annotations'
    paths = sorted(folder.glob('*.mat'))
    assert paths
    for path in paths:
        found = read(path.read_bytes(), most=10**6)
        assert np.array_equal(found, scipy.io.loadmat(path)['S'])


@pytest.mark.parametrize('compressed', [False, True])
def test_other_arrays_are_no_matrix_of_uint8(compressed):
    for array in (LABELS.astype(np.int16), LABELS > 9, LABELS * 1j, LABELS[None], OTHERS['names']):
        assert read(write(compressed, S=array)) is None
    assert read(write(compressed, T=LABELS)) is None


@pytest.mark.parametrize('compressed', [False, True])
def test_sizes_are_checked_before_values_are_read(compressed):
    with pytest.raises(InputError, match='34x21'):
        read(write(compressed, S=LABELS), most=700)


@pytest.mark.parametrize('compressed', [False, True])
def test_damaged_files_are_refused_or_read(compressed):
    whole, rng, refused = write(compressed, S=LABELS), np.random.RandomState(1), 0
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randint(128, len(data) if compressed else 200)] = rng.randint(256)
        try:
            found = read(bytes(data[: rng.randint(100, 1000)] if rng.rand() < 0.2 else data))
        except (mat_files.MatError, InputError):
            refused += 1
        else:  # another name or type, or other values in a file without checksum
            assert found is None or found.size == LABELS.size
            assert found is None or not compressed or np.array_equal(found, LABELS)
    assert refused > 1000
