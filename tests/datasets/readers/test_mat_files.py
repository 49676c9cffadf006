"""MAT-files: the matrices that scipy reads, and damage that crashes it."""

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from common.errors import InputError
from datasets.pixel_limit import labels_up_to
from datasets.readers import cocostuff10k, mat_files

LABELS = np.random.RandomState(0).choice([0, 1, 182], (7, 5)).astype(np.uint8)


def saved(compressed, **arrays):
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=compressed)
    return file.getvalue()


def big_endian(matrix):
    """Return an uncompressed file with the matrix S, as computers of another kind write it."""
    height, width = matrix.shape
    parts = struct.pack('>4I', 6, 8, 9, 0) + struct.pack('>2I2i', 5, 8, height, width)
    parts += struct.pack('>HHc3x', 1, 1, b'S') + struct.pack('>2I', 2, matrix.size)
    parts += matrix.T.tobytes() + bytes(-matrix.size % 8)
    return (
        b'M' * 124 + struct.pack('>H', 0x100) + b'MI' + struct.pack('>2I', 14, len(parts)) + parts
    )


@pytest.mark.parametrize('compressed', [False, True])
def test_matrices_are_those_of_scipy(compressed):
    for others in ({}, {'names': np.array(['a', 'bc'], object), 'x': 1.5, 'Sx': LABELS}):
        data = saved(compressed, **others, S=LABELS)
        assert np.array_equal(mat_files.read_bytes(data, 'S', lambda shape: None), LABELS)
    for other in (LABELS.astype(float), LABELS[None], np.array(['S'], object)):
        data = saved(compressed, S=other)
        assert mat_files.read_bytes(data, 'S', lambda shape: None) is None


def test_files_of_both_byte_orders_are_read():
    data = big_endian(LABELS)
    assert np.array_equal(scipy.io.loadmat(io.BytesIO(data))['S'], LABELS)
    assert np.array_equal(mat_files.read_bytes(data, 'S', lambda shape: None), LABELS)


@pytest.mark.parametrize('compressed', [False, True])
def test_every_flipped_bit_gives_an_error_or_other_values(tmp_path, compressed):
    """In compressed files, which have a checksum, an error or the same values.

    scipy crashes the process for some.
    """
    path, whole = tmp_path / 'a.mat', saved(compressed, S=LABELS)
    path.write_bytes(whole)
    expected = cocostuff10k.decode(path)
    for bit in range(8 * 124, 8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            labels = cocostuff10k.decode(path)
        except InputError as error:
            assert str(error).startswith(f'{path}: ')
        else:
            assert not compressed or np.array_equal(labels, expected)


def test_claims_of_a_matrix_are_checked_before_it_is_unpacked(tmp_path):
    path, whole = tmp_path / 'a.mat', saved(False, S=LABELS)
    shape = struct.pack('<2i', *LABELS.shape)
    for claimed, problem in (
        ((60000, 60000), '60000x60000 pixels, but at most'),
        ((-7, -5), 'damaged'),
        ((7, 6), 'another number of values'),
    ):
        data = whole.replace(shape, struct.pack('<2i', *claimed))
        path.write_bytes(data)
        with pytest.raises(InputError, match=f'a.mat: .*{problem}'):
            cocostuff10k.decode(path)
        packed = zlib.compress(data[128:])
        path.write_bytes(whole[:128] + struct.pack('<2I', 15, len(packed)) + packed)
        with pytest.raises(InputError, match=f'a.mat: .*{problem}'):
            cocostuff10k.decode(path)
    path.write_bytes(saved(True, S=LABELS))
    with (
        labels_up_to(LABELS.size - 1),
        pytest.raises(InputError, match='5x7 pixels, but at most 34'),
    ):
        cocostuff10k.decode(path)
