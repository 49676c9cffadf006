"""Data sets: a pickleable sequence of samples whose labels are checked when they are read."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import Sample
from datasets.label_values import check_range, to_network
from support.genuine_data import GENUINE


def test_a_data_set_is_a_sequence_of_samples(small_camvid):
    dataset = datasets.open('camvid', small_camvid, 'train')
    assert [sample.name for sample in dataset] == ['a', 'b']
    image, label = small_camvid / 'train/b.png', small_camvid / 'trainannot/b.png'
    assert dataset[1] == Sample('b', image, label)
    assert dataset.label(0).tolist() == np.full((6, 8), 255).tolist()


@pytest.mark.parametrize('name, folder', GENUINE)
def test_a_data_set_can_be_pickled_for_worker_processes(shared, name, folder):
    dataset = datasets.open(name, shared / 'data' / folder, 'val')
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.samples == dataset.samples
    assert np.array_equal(copy.label(0), dataset.label(0))


def test_a_label_of_another_size_is_refused(small_camvid):
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(small_camvid / 'trainannot/a.png')
    with pytest.raises(InputError, match='trainannot/a.png: 9x6 pixels, but .*train/a.png has 8x6'):
        datasets.open('camvid', small_camvid, 'train').pair(0)


def test_pipes_and_devices_are_not_waited_for(small_camvid):
    for file in ('train/a.png', 'trainannot/a.png', 'trainannot/b.png'):
        (small_camvid / file).unlink()
    os.mkfifo(small_camvid / 'train/a.png')
    os.mkfifo(small_camvid / 'trainannot/a.png')
    (small_camvid / 'trainannot/b.png').symlink_to('/dev/zero')
    dataset = datasets.open('camvid', small_camvid, 'train')
    reads = (dataset.image, dataset.size, dataset.orientation, dataset.label)
    for name, read, index in (*(('a.png', each, 0) for each in reads), ('b.png', dataset.label, 1)):
        with pytest.raises(InputError, match=f'{name}: cannot be read: is a pipe or a device'):
            read(index)


def test_values_beyond_the_classes_are_refused(tmp_path):
    labels = np.array([[0, 4, 255]], np.uint8)
    check_range(labels, 5, tmp_path)
    assert to_network(labels, 5, tmp_path).tolist() == [[0, 4, -1]]
    assert to_network(labels, 5, tmp_path).dtype == np.int32
    with pytest.raises(InputError, match='a.png: holds the values 4, but there are 4 classes'):
        to_network(labels, 4, tmp_path / 'a.png')
