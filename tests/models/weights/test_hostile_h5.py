"""Weights whose values are elsewhere, are no numbers or are not finite are refused by name."""

import os
import threading

import h5py
import nnabla as nn
import numpy as np
import pytest

import models
from models import weights
from models.class_table import ATTRIBUTES as CLASS_ATTRIBUTES
from support.registered_parameters import assert_refused, assert_same, parameters

pytestmark = pytest.mark.usefixtures('few_networks')
NAME = 'decode_head/conv_seg/conv/b'


@pytest.mark.parametrize(
    ('case', 'problem'),
    [
        ('external_storage', 'a/conv/W takes its values from another file, /etc/passwd'),
        ('virtual_missing', r'a/bn/gamma takes its values from elsewhere \(a virtual data set\)'),
    ],
)
def test_values_outside_of_the_file_are_refused(case, problem, shared):
    with pytest.raises(models.ModelError, match=f'{case}.h5 is not an NNabla .h5 file.*{problem}'):
        weights.read(shared / 'cases' / f'{case}.h5')


@pytest.mark.parametrize(
    ('value', 'problem'), [(np.nan, 'NaN'), (-np.inf, 'infinity'), (1e300, 'infinity')]
)
def test_values_that_are_not_finite_are_refused(value, problem, network, tmp_path, caplog):
    """1e300 is infinite as float32."""
    arrays = parameters()
    arrays[NAME] = arrays[NAME].astype(np.float64)
    arrays[NAME][1] = value
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        for name, array in arrays.items():
            file[name] = array
    for source, label in ((arrays, 'the given arrays'), (tmp_path / 'a.h5', tmp_path / 'a.h5')):
        assert_refused(source, f'^{label}: {NAME} has {problem}; use other weights$')
        with pytest.raises(models.errors.NonFiniteError):
            weights.load(source)
        weights.load(source, allow_non_finite=True)
        with np.errstate(over='ignore'):
            assert np.array_equal(
                nn.get_parameters()[NAME].d, arrays[NAME].astype(np.float32), equal_nan=True
            )
        nn.get_parameters()[NAME].d = 0
    assert f'{NAME} has {problem}, so results may be meaningless' in caplog.text
    with pytest.raises(models.ModelError, match=f'a.h5: {NAME} has {problem}'):
        weights.initialise(tmp_path / 'a.h5', 5)


def test_given_arrays_of_other_types_are_refused(network):
    for dtype in (np.complex64, object, 'S3'):
        arrays = parameters()
        arrays[NAME] = arrays[NAME].astype(dtype)
        assert_refused(arrays, f'^the given arrays: {NAME} is not numeric')
    for value in ([1.0], None, nn.Variable((3,))):
        assert_refused({NAME: value}, f'^the given arrays: {NAME} is not an array of NumPy')


def test_large_sums_of_finite_values_are_loaded(network):
    arrays = {name: np.full_like(array, 3e38) for name, array in parameters().items()}
    weights.load(arrays)
    assert_same(parameters(), arrays)


def test_arrays_without_values_and_truth_values_are_refused(tmp_path):
    for array, problem in (
        (np.zeros((0, 3), 'f4'), 'has no values'),
        (np.ones(3, bool), 'numeric'),
    ):
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            file['a/W'] = array
        with pytest.raises(models.ModelError, match=rf'\(a/W .*{problem}\)'):
            weights.read(tmp_path / 'a.h5')


def test_damaged_attributes_are_ignored_with_a_warning(network, tmp_path, caplog):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.attrs.update(dict.fromkeys(CLASS_ATTRIBUTES, '[' * 100000))
        file.attrs['input_mean'] = (np.nan, 1, 1)
        file.attrs.update({'input_std': (1, 1, 1), 'input_channel_order': 'rgb'})
    assert weights.class_table(tmp_path / 'a.h5') is None
    assert weights.input_statistics(tmp_path / 'a.h5') is None
    assert 'a.h5: the input statistics that it stores are invalid and are ignored' in caplog.text


def test_attributes_that_cannot_be_read_are_refused(network, tmp_path):
    """Without them, another channel order could be used unnoticed."""
    weights.save(tmp_path / 'a.h5', network.info)
    content = (tmp_path / 'a.h5').read_bytes()
    (tmp_path / 'a.h5').write_bytes(content.replace(b'GCOL', b'GCOX'))
    weights.load(tmp_path / 'a.h5')
    assert weights.class_table(tmp_path / 'a.h5') is None  # it stores none
    message = 'a.h5 is truncated or not an NNabla .h5 file .*global heap.*download or copy it again'
    with pytest.raises(models.ModelError, match=message):
        weights.input_statistics(tmp_path / 'a.h5')


def test_threads_refuse_a_damaged_file_without_lines_of_hdf5(network, tmp_path, capfd):
    weights.save(tmp_path / 'a.h5')
    content = (tmp_path / 'a.h5').read_bytes()
    (tmp_path / 'a.h5').write_bytes(content.replace(b'SNOD', b'SNOB'))
    refused = []

    def read():
        with pytest.raises(models.ModelError):
            weights.read(tmp_path / 'a.h5')
        refused.append(os.getpid())

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert refused == [os.getpid()] * 3
    assert capfd.readouterr() == ('', '')
