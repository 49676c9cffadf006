"""COCO-Stuff 10k: MAT-files with the classes of the 164k, lists, and converted files."""

import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError
from datasets.readers import cocostuff10k

# Values that HRNet's code omits: chenjun2hao/DDRNet.pytorch, lib/datasets/cocostuff.py
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}


@pytest.fixture
def root(shared):
    return shared / 'data/samples/cocostuff10k_from164k'


@pytest.fixture
def copy(root, tmp_path):
    return shutil.copytree(root, tmp_path / '10k', copy_function=shutil.copyfile)


def test_mat_files_equal_their_source_png_files(shared, root):
    dataset = datasets.open('cocostuff10k', root, 'trainval')
    other = datasets.open('cocostuff164k', shared / 'data/samples/cocostuff164k', 'trainval')
    by_number = {sample.name: index for index, sample in enumerate(other)}
    for index, sample in enumerate(dataset):
        number = sample.name.rpartition('_')[2]
        assert np.array_equal(dataset.label(index), other.label(by_number[number]))


def test_png_values_have_the_classes_of_hrnets_mapping(tmp_path):
    """PNG files in DDRNet's lists contain the values of S."""
    values = np.array([[v for v in range(183) if v not in UNUSED]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'a.png')
    assert cocostuff10k.decode(tmp_path / 'a.png').tolist() == [[255, *range(171)]]
    Image.fromarray(np.array([[12]], np.uint8)).save(tmp_path / 'b.png')
    with pytest.raises(InputError, match='b.png: holds the values 12, which have no meaning'):
        cocostuff10k.decode(tmp_path / 'b.png')


def test_the_val_split_is_the_test_list(root):
    listed = (root / 'imageLists/test.txt').read_text().split()
    assert [sample.name for sample in datasets.open('cocostuff10k', root, 'val')] == listed


def test_converted_files_take_precedence(copy):
    dataset = datasets.open('cocostuff10k', copy, 'val')
    expected = dataset.label(0)
    target = copy / 'annotations' / f'{dataset[0].name}_labelTrainIds.png'
    Image.fromarray(expected).save(target)
    dataset[0].label.unlink()
    dataset = datasets.open('cocostuff10k', copy, 'val')
    assert dataset[0].label == target
    assert np.array_equal(dataset.label(0), expected)


def test_other_and_damaged_files_are_refused_as_labels(shared, copy):
    regions = shared / 'data/samples/cocostuff10k_author_mat/regions'
    with pytest.raises(InputError, match='000000119938.mat: contains no label map S'):
        cocostuff10k.decode(regions / 'COCO_train2014_000000119938.mat')
    path = next((copy / 'annotations').iterdir())
    whole = path.read_bytes()
    for data in (b'', b'hello', whole[:200], whole[:1000]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=f'{path.name}: damaged or truncated MAT-file'):
            cocostuff10k.decode(path)
    path.unlink()
    with pytest.raises(InputError, match=f'{path.name}: cannot be read'):
        cocostuff10k.decode(path)
    scipy.io.savemat(path, {'S': np.full((3, 4), 200, np.uint8)})
    with pytest.raises(InputError, match=f'{path.name}: holds the values 200'):
        cocostuff10k.decode(path)


def test_a_missing_list_is_reported(copy):
    (copy / 'imageLists/test.txt').unlink()
    with pytest.raises(DataError, match='imageLists/test.txt is missing; it lists'):
        datasets.open('cocostuff10k', copy, 'val')
