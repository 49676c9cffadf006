"""CamVid: SegNet's edition, and the original's 32 colours as 11 classes."""

import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError
from datasets.readers import camvid
from support import stand_ins

# The 32 colours of the original and the class that each becomes.
ORIGINAL = {
    'sky': [(128, 128, 128)],
    'building': [(0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)],
    'pole': [(192, 192, 128), (0, 0, 64)],
    'road': [(128, 64, 128), (128, 0, 192), (192, 0, 64)],
    'pavement': [(0, 0, 192), (64, 192, 128), (128, 128, 192)],
    'tree': [(128, 128, 0), (192, 192, 0)],
    'sign': [(192, 128, 128), (128, 128, 64), (0, 64, 64)],
    'fence': [(64, 64, 128)],
    'car': [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],
    'pedestrian': [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],
    'bicyclist': [(0, 128, 192), (192, 0, 192)],
    None: [(0, 0, 0)],
}


def test_the_genuine_test_split_has_the_values_of_its_files(shared):
    """All 233 label files: the same pixels a class as a plain count of the values."""
    root = shared / 'data/camvid'
    dataset = datasets.open('camvid', root, 'test')
    counts = sum(np.bincount(dataset.label(i).ravel(), minlength=256) for i in range(233))
    expected = np.zeros(12, np.int64)
    for path in (root / 'testannot').iterdir():
        values, numbers = np.unique(np.asarray(Image.open(path)), return_counts=True)
        expected[values] += numbers
    assert counts[:11].tolist() == expected[:11].tolist()
    assert counts[255] == expected[11] > 0
    assert counts.sum() == 233 * 360 * 480


def test_segnets_lists_name_the_same_frames(shared):
    root = shared / 'data/camvid'
    for split in ('train', 'val', 'test'):
        found = datasets.open('camvid', root, split)
        listed = datasets.open('camvid', root, split, root / f'{split}.txt')
        key = [(sample.image, sample.label) for sample in found]
        assert sorted((sample.image, sample.label) for sample in listed) == key


def test_32_colours_become_11_classes(tmp_path):
    assert sum(map(len, ORIGINAL.values())) == 32
    colours = [colour for group in ORIGINAL.values() for colour in group]
    Image.fromarray(np.array([colours], np.uint8)).save(tmp_path / 'a_L.png')
    classes = datasets.info('camvid').classes
    expected = [
        255 if name is None else classes.index(name)
        for name, group in ORIGINAL.items()
        for _ in group
    ]
    assert camvid.decode(tmp_path / 'a_L.png').tolist() == [expected]


def test_an_unknown_colour_is_named(tmp_path):
    Image.new('RGB', (4, 4), (128, 64, 127)).save(tmp_path / 'a_L.png')
    with pytest.raises(InputError, match=r'a_L.png: the colour \(128, 64, 127\) at row 0'):
        camvid.decode(tmp_path / 'a_L.png')


@pytest.mark.parametrize('value', [12, 255])
def test_an_unknown_value_is_named(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=f'a.png: holds the values {value}, which have no meaning'):
        camvid.decode(tmp_path / 'a.png')


def original(root, names, images='701_StillsRaw_full', labels='LabeledApproved_full'):
    for name in names:
        for folder, file, array in (
            (images, f'{name}.png', stand_ins.image(6, 8)),
            (labels, f'{name}_L.png', np.full((6, 8, 3), (128, 64, 128), np.uint8)),
        ):
            (root / folder).mkdir(exist_ok=True, parents=True)
            Image.fromarray(array).save(root / folder / file)
    return root


def names(root, split):
    return [sample.name for sample in datasets.open('camvid', root, split)]


@pytest.mark.parametrize('folders', [(), ('images', 'labels'), ('.', '.'), ('frames', 'frames')])
def test_the_original_edition_in_any_folders(tmp_path, folders):
    original(tmp_path, ['0006R0_f00930', 'Seq05VD_f00000'], *folders)
    dataset = datasets.open('camvid', tmp_path, 'train')
    assert [sample.name for sample in dataset] == ['0006R0_f00930']
    assert dataset[0].image.name == '0006R0_f00930.png'
    assert (dataset.label(0) == 3).all()


@pytest.mark.parametrize('folders', [(), ('frames', 'frames')])
def test_converted_files_come_first(tmp_path, folders):
    original(tmp_path, ['0006R0_f00930', '0006R0_f00960'], *folders)
    published = datasets.open('camvid', tmp_path, 'train')[1].label
    converted = published.with_name('0006R0_f00960_labelTrainIds.png')
    Image.fromarray(np.full((6, 8), 10, np.uint8)).save(converted)
    dataset = datasets.open('camvid', tmp_path, 'train')
    assert [sample.name for sample in dataset] == ['0006R0_f00930', '0006R0_f00960']
    assert (dataset[0].label.name, dataset[1].label) == ('0006R0_f00930_L.png', converted)
    assert (dataset.pair(1)[1] == 10).all()


def test_frames_of_the_original_go_to_segnets_splits(shared, tmp_path):
    """By sequence and number as SegNet's files do: its test complete, train and val in part."""
    splits = {
        split: sorted(path.stem for path in (shared / 'data/camvid' / split).iterdir())
        for split in ('train', 'val', 'test')
    }
    original(tmp_path, [name for frames in splits.values() for name in frames])
    assert {split: names(tmp_path, split) for split in splits} == splits


def test_lists_and_folders_make_other_splits(tmp_path):
    original(tmp_path / 'a', ['x', 'y', 'z'])
    with pytest.raises(DataError, match='x.png: not the name of a CamVid frame.*train.txt'):
        names(tmp_path / 'a', 'train')
    (tmp_path / 'a/train.txt').write_text('z\nx\n')
    (tmp_path / 'a/val.txt').write_text('/SegNet/CamVid/val/y.png /SegNet/CamVid/valannot/y.png\n')
    assert (names(tmp_path / 'a', 'train'), names(tmp_path / 'a', 'val')) == (['z', 'x'], ['y'])
    original(tmp_path / 'b', ['x', 'y'], 'train', 'train_labels')
    original(tmp_path / 'b', ['z'], 'val', 'val_labels')
    assert (names(tmp_path / 'b', 'train'), names(tmp_path / 'b', 'val')) == (['x', 'y'], ['z'])


def test_both_editions_in_one_root_are_refused(tmp_path):
    original(tmp_path, ['0006R0_f00930'])
    (tmp_path / 'trainannot').mkdir()
    with pytest.raises(DataError, match='both editions of CamVid'):
        names(tmp_path, 'train')


def test_a_label_of_the_original_twice(tmp_path):
    original(tmp_path, ['0006R0_f00930'])
    shutil.copytree(tmp_path / 'LabeledApproved_full', tmp_path / 'copy')
    with pytest.raises(DataError, match='are labels of one frame; keep one'):
        names(tmp_path, 'train')


def test_an_image_of_the_original_without_a_label(tmp_path):
    original(tmp_path, ['0006R0_f00930', '0006R0_f00960'])
    (tmp_path / 'LabeledApproved_full/0006R0_f00960_L.png').unlink()
    with pytest.raises(DataError, match='f00960.png: no label, .*f00960_L.png is missing'):
        names(tmp_path, 'train')
