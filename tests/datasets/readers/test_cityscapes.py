"""Cityscapes: trainIds, ids through the official table, lists, and files for the server."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError, Sample
from datasets.readers import cityscapes

# The table in data/README.md of the reference material: trainId by id.
TABLE = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
         26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
DDRNET_LINE = (
    'leftImg8bit/train/{0}_leftImg8bit.png\tgtFine/train/{0}_gtFine_labelIds.png\n'  # data/list
)


@pytest.fixture
def root(shared, tmp_path):
    """A modifiable copy made of links, because the files are large."""
    copy = tmp_path / 'cityscapes'
    shutil.copytree(
        shared / 'data/samples/cityscapes', copy, copy_function=lambda s, d: Path(d).symlink_to(s)
    )
    return copy


@pytest.mark.parametrize(
    'folder, count, different',
    [
        ('cityscapes', 4, 0),
        ('cityscapes_256x128', 1, 77),  # its two files were resized separately, which moved borders
    ],
)
def test_ids_and_train_ids_of_genuine_frames_are_equal(shared, folder, count, different):
    frames = sorted((shared / 'data/samples' / folder / 'gtFine').glob('*/*/*_labelIds.png'))
    assert len(frames) == count
    for path in frames:
        ids = np.asarray(Image.open(path))
        expected = np.full(ids.shape, 255, np.uint8)
        for id_, train_id in TABLE.items():
            expected[ids == id_] = train_id
        assert np.array_equal(cityscapes.decode(path), expected)
        converted = path.with_name(path.name.replace('labelIds', 'labelTrainIds'))
        assert (cityscapes.decode(converted) != expected).sum() == different


def test_samples_are_named_by_city_and_prefer_train_ids(root):
    dataset = datasets.open('cityscapes', root, 'val')
    names = ['frankfurt/frankfurt_000000_000576', 'lindau/lindau_000000_000019']
    assert [sample.name for sample in dataset] == names
    assert all('labelTrainIds' in sample.label.name for sample in dataset)
    train_ids = dataset.label(0)
    dataset[0].label.unlink()
    dataset = datasets.open('cityscapes', root, 'val')
    assert dataset[0].label.name == 'frankfurt_000000_000576_gtFine_labelIds.png'
    assert np.array_equal(dataset.label(0), train_ids)


def test_classes_are_in_the_order_of_the_train_ids():
    info = datasets.info('cityscapes')
    assert list(TABLE.values()) == list(range(19))
    groups = ['flat', 'construction', 'object', 'nature', 'sky', 'human', 'vehicle']
    assert list(dict.fromkeys(info.categories)) == groups
    assert [info.categories.count(group) for group in groups] == [2, 3, 3, 2, 1, 2, 6]
    assert info.categories[info.classes.index('motorcycle')] == 'vehicle'


def test_sonys_list_restricts_the_split(root):
    (root / 'train.txt').write_text('aachen/aachen_000002_000019\naachen/aachen_000000_000019\n')
    names = [sample.name for sample in datasets.open('cityscapes', root, 'train')]
    assert names == ['aachen/aachen_000002_000019', 'aachen/aachen_000000_000019']
    assert len(datasets.open('cityscapes', root, 'val')) == 2
    (root / 'train.txt').write_text('aachen_000002_000019\n')
    with pytest.raises(DataError, match="train.txt, line 1: .*'aachen_000002_000019'; .*aachen/aa"):
        datasets.open('cityscapes', root, 'train')


def test_ddrnets_list_is_read_through_the_table(root):
    names = ['aachen/aachen_000001_000019', 'aachen/aachen_000000_000019']
    (root / 'train.lst').write_text(''.join(map(DDRNET_LINE.format, names)))
    dataset = datasets.open('cityscapes', root, 'train', root / 'train.lst')
    assert 'labelIds' in dataset[0].label.name
    found = {Path(s.name).name: s for s in dataset}
    assert set(found) == {f'{Path(name).name}_leftImg8bit' for name in names}
    expected = datasets.open('cityscapes', root, 'train')
    assert np.array_equal(dataset.label(1), expected.label(0))


def test_the_test_split_has_no_labels(root):
    for folder in ('leftImg8bit', 'gtFine'):
        (root / folder / 'val').rename(root / folder / 'test')
    dataset = datasets.open('cityscapes', root, 'test')
    assert len(dataset) == 2
    assert all(sample.label is None for sample in dataset)


def test_submitted_files_have_ids_and_the_name_of_the_image(tmp_path):
    sample = Sample('berlin/x', tmp_path / 'berlin_000000_000019_leftImg8bit.png', None)
    labels = np.arange(19, dtype=np.uint8)[None]
    name, values = cityscapes.submission(sample, labels)
    assert name == 'berlin_000000_000019_leftImg8bit.png'
    assert values.dtype == np.uint8
    assert values.tolist() == [list(TABLE)]


def test_other_files_are_refused_as_labels(shared, tmp_path):
    folder = shared / 'data/samples/cityscapes/gtFine/train/aachen'
    with pytest.raises(InputError, match='aachen_000000_000019_gtFine_instanceIds.png: .*instance'):
        cityscapes.decode(folder / 'aachen_000000_000019_gtFine_instanceIds.png')
    for name, values, problem in (
        ('x_gtFine_labelIds.png', [[34]], 'the values 34, which have no meaning'),
        ('x_gtFine.png', [[0]], 'must end in labelIds or labelTrainIds'),
    ):
        Image.fromarray(np.array(values, np.uint8)).save(tmp_path / name)
        with pytest.raises(InputError, match=f'{name}: .*{problem}'):
            cityscapes.decode(tmp_path / name)


def test_ids_in_a_file_named_train_ids_are_refused(root):
    """A mistaken conversion leaves such a file."""
    path = root / 'gtFine/val/frankfurt/frankfurt_000000_000576_gtFine_labelTrainIds.png'
    path.unlink()
    path.with_name(path.name.replace('labelTrainIds', 'labelIds')).rename(path)
    with pytest.raises(InputError, match='labelTrainIds.png: holds the values 20, 21, 23, 25'):
        datasets.open('cityscapes', root, 'val').label(0)
