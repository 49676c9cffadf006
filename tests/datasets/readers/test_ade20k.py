"""ADE20K: 150 classes from file values 1 to 150, CSAIL's lists, and files for the server."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

import datasets
from common.errors import InputError
from datasets import Sample
from datasets.readers import ade20k


@pytest.fixture
def root(shared):
    return shared / 'data/samples/ADEChallengeData2016'


def test_names_and_colours_are_the_published_ones(root):
    info = datasets.info('ade20k')
    lines = (root / 'objectInfo150.txt').read_text().splitlines()[1:]
    assert [line.split('\t')[4].split(',')[0].strip() for line in lines] == list(info.classes)
    colours = scipy.io.loadmat(root / 'odgt/color150.mat')['colors']
    assert colours.tolist() == [list(colour) for colour in info.palette]


def test_values_start_at_1_and_0_is_void(root):
    for split in ('train', 'val'):
        dataset = datasets.open('ade20k', root, split)
        for index, sample in enumerate(dataset):
            values = np.asarray(Image.open(sample.label)).astype(int)
            expected = np.where(values == 0, 255, values - 1)
            assert np.array_equal(dataset.label(index), expected)


@pytest.mark.parametrize('split', ['training', 'validation'])
@pytest.mark.parametrize('above', [False, True])
def test_csails_lists_name_the_files_of_the_splits(root, split, above):
    own = datasets.open('ade20k', root, {'training': 'train', 'validation': 'val'}[split])
    place = root.parent if above else root
    listed = datasets.open('ade20k', place, own.split, root / 'odgt' / f'{split}.odgt')
    assert [(s.image, s.label) for s in listed] == [(s.image, s.label) for s in own]


def test_the_root_may_be_the_folder_above(root):
    above = datasets.open('ade20k', root.parent, 'val')
    assert above.samples == datasets.open('ade20k', root, 'val').samples


def test_test_images_have_no_labels(tmp_path):
    (tmp_path / 'images/testing').mkdir(parents=True)
    (tmp_path / 'images/testing/ADE_test_00000001.jpg').touch()
    (sample,) = datasets.open('ade20k', tmp_path, 'test')
    assert (sample.name, sample.label) == ('ADE_test_00000001', None)


def test_submitted_values_start_at_1(tmp_path):
    sample = Sample('x', tmp_path / 'ADE_test_00000001.jpg', None)
    name, values = ade20k.submission(sample, np.array([[0, 149]], np.uint8))
    assert (name, values.tolist()) == ('ADE_test_00000001.png', [[1, 150]])


def test_values_above_150_are_refused(tmp_path):
    Image.fromarray(np.array([[151]], np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match='a.png: holds the values 151, which have no meaning'):
        ade20k.decode(tmp_path / 'a.png')
