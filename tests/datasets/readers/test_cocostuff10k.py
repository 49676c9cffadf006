"""COCO-Stuff 10k: MAT-files with the classes of the 164k, lists, and converted files."""

import shutil

import numpy as np
import pytest
import scipy.io
from PIL import Image

import datasets
from common.command import run_command
from common.errors import InputError
from datasets import DataError, prepare
from datasets.readers import cocostuff10k
from datasets.readers.contract import SubmittingReader

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


def as_mmsegmentation(mat):
    """Return the values that mmsegmentation's converter writes: 0 to 171 by rank of the number."""
    rank = np.zeros(183, np.uint8)
    rank[[number for number in range(183) if number not in UNUSED]] = range(172)
    return rank[scipy.io.loadmat(mat)['S']]


@pytest.mark.parametrize('folder', ['.', 'train2014'])
def test_files_that_count_from_1_are_refused(copy, folder):
    """Beside the MAT-files, or in mmsegmentation's folders; the MAT-files show what is what."""
    mats = sorted((copy / 'annotations').glob('*.mat'))
    (copy / 'annotations' / folder).mkdir(exist_ok=True)
    for mat in mats:
        target = mat.parent / folder / f'{mat.stem}_labelTrainIds.png'
        Image.fromarray(as_mmsegmentation(mat)).save(target)
        with pytest.raises(InputError, match='its classes count from 1, .*--convert'):
            cocostuff10k.decode(target)
    if folder != '.':
        return
    command = ['cocostuff10k', '-d', str(copy), '--convert', '--processes', '1']
    assert run_command(prepare.build_parser, prepare.main, command) == 0
    for mat in mats:
        labels = cocostuff10k.decode(mat.with_name(f'{mat.stem}_labelTrainIds.png'))
        assert np.array_equal(labels, cocostuff10k.decode(mat))


def test_files_without_mat_files_are_judged_by_their_folder(tmp_path):
    """255 is in files that count from 0 only, 171 in files that count from 1 only."""
    names = [tmp_path / f'{letter}_labelTrainIds.png' for letter in 'abc']
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(names[0])
    with pytest.raises(InputError, match='a_labelTrainIds.png: has neither 255 nor 171'):
        cocostuff10k.decode(names[0])
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(names[1])
    assert cocostuff10k.decode(names[0]).tolist() == [[0, 1, 2]]
    names[1].unlink()
    Image.fromarray(np.array([[0, 171]], np.uint8)).save(names[2])
    for name in (names[0], names[2]):
        with pytest.raises(InputError, match='its classes count from 1'):
            cocostuff10k.decode(name)


def test_there_is_no_test_server():
    assert not isinstance(datasets.reader('cocostuff10k'), SubmittingReader)


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
