"""COCO-Stuff 164k: 171 classes from 182 numbers, and files for the server."""

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import Sample
from datasets.readers import cocostuff164k
from support.stand_ins import image


@pytest.fixture
def root(shared):
    return shared / 'data/samples/cocostuff164k'


def test_classes_are_the_used_names_of_labels_txt(root):
    lines = [line.split(': ') for line in (root / 'labels.txt').read_text().splitlines()]
    names = {int(number): name for number, name in lines}
    unused = 'street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, '
    unused = (unused + 'hair brush').split(', ')
    kept = [name for number, name in names.items() if number > 0 and name not in unused]
    assert list(datasets.info('cocostuff164k').classes) == kept
    assert len(kept) == 171


def test_pixels_of_genuine_files_have_the_class_of_their_name(root):
    lines = [line.split(': ') for line in (root / 'labels.txt').read_text().splitlines()]
    names = {int(number) - 1: name for number, name in lines}  # PNG files count from 0
    classes = datasets.info('cocostuff164k').classes
    dataset = datasets.open('cocostuff164k', root, 'trainval')
    for index, sample in enumerate(dataset):
        values, label = np.asarray(Image.open(sample.label)), dataset.label(index)
        for value in np.unique(values):
            (found,) = np.unique(label[values == value])
            assert found == 255 if value == 255 else classes[found] == names[value]


def test_converted_files_take_precedence(tmp_path):
    for folder, name, array in (
        ('images', 'a.jpg', image(4, 5)),
        ('annotations', 'a.png', np.full((4, 5), 181, np.uint8)),
    ):
        (tmp_path / folder / 'val2017').mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / folder / 'val2017' / name)
    dataset = datasets.open('cocostuff164k', tmp_path, 'val')
    assert (dataset.label(0) == 170).all()
    converted = tmp_path / 'annotations/val2017/a_labelTrainIds.png'
    Image.fromarray(np.full((4, 5), 169, np.uint8)).save(converted)
    dataset = datasets.open('cocostuff164k', tmp_path, 'val')
    assert [sample.label for sample in dataset] == [converted]
    assert (dataset.label(0) == 169).all()


@pytest.mark.parametrize('value', [11, 182])
def test_unused_values_are_refused(tmp_path, value):
    Image.fromarray(np.array([[value]], np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=f'a.png: holds the values {value}, which have no meaning'):
        cocostuff164k.decode(tmp_path / 'a.png')


def test_submitted_values_are_the_numbers_of_labels_txt(root, tmp_path):
    """The official tool takes a pixel value as category id, so it must name the same class."""
    lines = [line.split(': ') for line in (root / 'labels.txt').read_text().splitlines()]
    numbers = {name: int(number) for number, name in lines}
    classes = datasets.info('cocostuff164k').classes
    labels = np.array([[*range(171), 255]], np.uint8)
    name, values = cocostuff164k.submission(Sample('x', tmp_path / '01.jpg', None), labels)
    assert name == '01.png'
    assert values.tolist() == [[*(numbers[name] for name in classes), numbers['unlabeled']]]
