"""Opening a data set and reading it: what all readers have in common."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError, Sample
from datasets.dataset import check_range, to_network
from support import stand_ins

GENUINE = {  # name, folder below data/: images of every split there
    ('cityscapes', 'samples/cityscapes'): {'train': 3, 'val': 2, 'trainval': 5},
    ('cityscapes', 'samples/cityscapes_256x128'): {'val': 1},
    ('camvid', 'camvid'): {'train': 36, 'val': 18, 'test': 233, 'trainval': 54},
    ('ade20k', 'samples/ADEChallengeData2016'): {'train': 1, 'val': 3, 'trainval': 4},
    ('ade20k32', 'samples/ADEChallengeData2016'): {'train': 1, 'val': 3, 'trainval': 4},
    ('voc', 'samples/VOCdevkit/VOC2012'): {'train': 8, 'trainaug': 8, 'val': 15, 'trainval': 23},
    ('cocostuff164k', 'samples/cocostuff164k'): {'train': 13, 'val': 8, 'trainval': 21},
    ('cocostuff10k', 'samples/cocostuff10k_from164k'): {'train': 3, 'val': 2, 'trainval': 5},
    ('cocoseg21', 'samples/coco_instances'): {'val': 2},
}
CASES = [(*key, split, count) for key, splits in GENUINE.items() for split, count in splits.items()]


@pytest.mark.parametrize('name, folder, split, count', CASES)
def test_genuine_files_are_found_and_fit(shared, name, folder, split, count):
    dataset = datasets.open(name, shared / 'data' / folder, split)
    assert len(dataset) == count
    assert len({sample.name for sample in dataset.samples}) == count
    assert not any(sample.name.startswith('/') or '.' in sample.name for sample in dataset.samples)
    for index in {0, count - 1}:
        image, label = dataset.pair(index)
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*label.shape, 3)


@pytest.mark.parametrize('name, folder', GENUINE)
def test_a_data_set_can_be_sent_to_worker_processes(shared, name, folder):
    dataset = datasets.open(name, shared / 'data' / folder, 'val')
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.samples == dataset.samples
    assert np.array_equal(copy.label(0), dataset.label(0))


@pytest.mark.parametrize('name, folder', GENUINE)
def test_no_reader_takes_the_files_of_another(shared, name, folder):
    shares_files = {'ade20k': 'ade20k32', 'ade20k32': 'ade20k'}
    for other in datasets.names():
        if other not in (name, shares_files.get(name)):
            with pytest.raises(DataError, match=f'does not contain {other}; '):
                datasets.open(other, shared / 'data' / folder, 'val')


@pytest.fixture
def camvid(tmp_path):
    """The SegNet edition with two frames in train and one in val and test."""
    root = tmp_path / 'data' / 'camvid'
    for split, names in (('train', 'ab'), ('val', 'c'), ('test', 'd')):
        for name in names:
            for folder, array in (
                (split, stand_ins.image(6, 8)),
                (f'{split}annot', np.full((6, 8), 11, np.uint8)),
            ):
                (root / folder).mkdir(exist_ok=True, parents=True)
                Image.fromarray(array).save(root / folder / f'{name}.png')
    return root


def test_a_sequence_of_samples(camvid):
    dataset = datasets.open('camvid', camvid, 'train')
    assert [sample.name for sample in dataset] == ['a', 'b']
    assert dataset[1] == Sample('b', camvid / 'train/b.png', camvid / 'trainannot/b.png')
    assert dataset.label(0).tolist() == np.full((6, 8), 255).tolist()


def test_trainval_is_both(camvid):
    dataset = datasets.open('camvid', camvid, 'trainval')
    assert [sample.name for sample in dataset] == ['a', 'b', 'c']


def test_one_name_twice_is_refused(camvid):
    shutil.copy(camvid / 'train/a.png', camvid / 'val')
    shutil.copy(camvid / 'trainannot/a.png', camvid / 'valannot')
    datasets.open('camvid', camvid, 'train')
    with pytest.raises(DataError, match='val/a.png and .*train/a.png are both called a'):
        datasets.open('camvid', camvid, 'trainval')
    shutil.copy(camvid / 'train/a.png', camvid / 'train/a.PNG')
    with pytest.raises(DataError, match='have the same name'):
        datasets.open('camvid', camvid, 'train')


def test_an_image_without_a_label_is_named(camvid):
    (camvid / 'trainannot/b.png').unlink()
    with pytest.raises(DataError, match=r'train/b.png: no label, .*trainannot/b.png .*; 1 of 2 im'):
        datasets.open('camvid', camvid, 'train')
    dataset = datasets.open('camvid', camvid, 'train', complete=False)
    assert dataset[1].label == camvid / 'trainannot/b.png'
    (camvid / 'testannot/d.png').unlink()  # of a test split, labels are not expected
    with pytest.raises(InputError, match='testannot/d.png: cannot be read'):
        datasets.open('camvid', camvid, 'test').label(0)


def test_a_label_without_an_image_is_logged(camvid, caplog):
    (camvid / 'train/b.png').unlink()
    assert len(datasets.open('camvid', camvid, 'train')) == 1
    assert 'trainannot/b.png: a label without an image; 1 of 2 labels have none' in caplog.text


def test_wrong_roots(camvid):
    with pytest.raises(DataError, match='none: no such folder; expected there: .*https://'):
        datasets.open('camvid', camvid / 'none', 'train')
    (camvid / 'other').mkdir()
    with pytest.raises(DataError, match=f'other: does not contain camvid; it is in {camvid}; name'):
        datasets.open('camvid', camvid / 'other', 'train')
    with pytest.raises(DataError, match=f'does not contain camvid; it is in {camvid}; name that'):
        datasets.open('camvid', camvid.parent, 'train')
    with pytest.raises(DataError, match='not contain cityscapes; it looks like camvid; is that'):
        datasets.open('cityscapes', camvid, 'train')


def test_empty_and_unknown_splits(camvid):
    shutil.rmtree(camvid / 'val')
    with pytest.raises(DataError, match='nothing found for the split val; expected: <split>/'):
        datasets.open('camvid', camvid, 'val')
    with pytest.raises(DataError, match="no split 'vla'; there are train, val, test, trainval"):
        datasets.open('camvid', camvid, 'vla')


def test_a_list_takes_the_place_of_the_split(camvid):
    (camvid / 'some.lst').write_text('val/c.png\tvalannot/c.png\n')
    dataset = datasets.open('camvid', camvid, 'train', camvid / 'some.lst')
    assert [sample.name for sample in dataset] == ['val/c']
    (camvid / 'some.lst').write_text('val/c.png\n')
    with pytest.raises(DataError, match='val/c.png: no label; 1 of 1'):
        datasets.open('camvid', camvid, 'train', camvid / 'some.lst')
    with pytest.raises(InputError, match='val/c.png: the split test has no labels'):
        datasets.open('camvid', camvid, 'test', camvid / 'some.lst').label(0)
    (camvid / 'some.lst').write_text('\n')
    with pytest.raises(DataError, match='some.lst: nothing found'):
        datasets.open('camvid', camvid, 'train', camvid / 'some.lst')


def test_labels_of_another_size(camvid):
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(camvid / 'trainannot/a.png')
    with pytest.raises(InputError, match='trainannot/a.png: 9x6 pixels, but .*train/a.png has 8x6'):
        datasets.open('camvid', camvid, 'train').pair(0)


def test_values_that_are_no_class(tmp_path):
    labels = np.array([[0, 4, 255]], np.uint8)
    check_range(labels, 5, tmp_path)
    assert to_network(labels, 5, tmp_path).tolist() == [[0, 4, -1]]
    assert to_network(labels, 5, tmp_path).dtype == np.int32
    with pytest.raises(InputError, match='a.png: holds the values 4, but there are 4 classes'):
        to_network(labels, 4, tmp_path / 'a.png')
