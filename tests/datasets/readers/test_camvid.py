"""CamVid: SegNet's edition, and the original edition with 32 colours as 11 classes."""

import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError
from datasets.readers import camvid
from support import stand_ins

# The 32 colours of the original edition by class.
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


@pytest.mark.parametrize('step', [8, pytest.param(1, marks=pytest.mark.whole_registry)])
def test_labels_of_the_genuine_test_split_have_the_values_of_their_files(shared, step):
    """Pixels per class equal a plain count of the file values; every eighth of 233 by default."""
    dataset = datasets.open('camvid', shared / 'data/camvid', 'test')
    assert len(dataset) == 233
    indices = range(0, 233, step)
    counts = sum(np.bincount(dataset.label(i).ravel(), minlength=256) for i in indices)
    values = (np.asarray(Image.open(dataset[i].label)).ravel() for i in indices)
    expected = sum(np.bincount(value, minlength=12) for value in values)
    assert counts[:11].tolist() == expected[:11].tolist()
    assert counts[255] == expected[11] > 0
    assert counts.sum() == len(indices) * 360 * 480


def test_segnets_lists_name_the_frames_that_the_reader_finds(shared):
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


def test_an_unknown_colour_is_reported(tmp_path):
    Image.new('RGB', (4, 4), (128, 64, 127)).save(tmp_path / 'a_L.png')
    with pytest.raises(InputError, match=r'a_L.png: the colour \(128, 64, 127\) at row 0'):
        camvid.decode(tmp_path / 'a_L.png')


@pytest.mark.parametrize('value', [12, 255])
def test_an_unknown_value_is_reported(tmp_path, value):
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match=f'a.png: holds the values {value}, which have no meaning'):
        camvid.decode(tmp_path / 'a.png')


def original(root, names, images='701_StillsRaw_full', labels='LabeledApproved_full'):
    """Write a small copy of the original edition in which all pixels are road."""
    for name in names:
        for folder, file, array in (
            (images, f'{name}.png', stand_ins.image(6, 8)),
            (labels, f'{name}_L.png', np.full((6, 8, 3), (128, 64, 128), np.uint8)),
        ):
            (root / folder).mkdir(exist_ok=True, parents=True)
            Image.fromarray(array).save(root / folder / file)
    return root


def names(root, split):
    """Return the names of the samples of a split."""
    return [sample.name for sample in datasets.open('camvid', root, split)]


@pytest.mark.parametrize('folders', [(), ('images', 'labels'), ('.', '.'), ('frames', 'frames')])
def test_the_original_edition_in_any_folders(tmp_path, folders):
    original(tmp_path, ['0006R0_f00930', 'Seq05VD_f00000'], *folders)
    dataset = datasets.open('camvid', tmp_path, 'train')
    assert [sample.name for sample in dataset] == ['0006R0_f00930']
    assert dataset[0].image.name == '0006R0_f00930.png'
    assert (dataset.label(0) == 3).all()


@pytest.mark.parametrize('folders', [(), ('frames', 'frames')])
def test_converted_files_take_precedence(tmp_path, folders):
    original(tmp_path, ['0006R0_f00930', '0006R0_f00960'], *folders)
    published = datasets.open('camvid', tmp_path, 'train')[1].label
    converted = published.with_name('0006R0_f00960_labelTrainIds.png')
    Image.fromarray(np.full((6, 8), 10, np.uint8)).save(converted)
    dataset = datasets.open('camvid', tmp_path, 'train')
    assert [sample.name for sample in dataset] == ['0006R0_f00930', '0006R0_f00960']
    assert (dataset[0].label.name, dataset[1].label) == ('0006R0_f00930_L.png', converted)
    assert (dataset.pair(1)[1] == 10).all()


def test_frames_of_the_original_are_divided_as_by_segnet(shared, tmp_path):
    """SegNet's file names show the split of each sequence and frame number.

    The reference material has its test split completely, train and val in part.
    """
    splits = {
        split: sorted(path.stem for path in (shared / 'data/camvid' / split).iterdir())
        for split in ('train', 'val', 'test')
    }
    for folder, end in (('images', ''), ('labels', '_L')):
        (tmp_path / folder).mkdir()
        for name in itertools.chain(*splits.values()):
            (tmp_path / folder / f'{name}{end}.png').touch()
    assert {split: names(tmp_path, split) for split in splits} == splits


def test_lists_and_folders_define_other_splits(tmp_path):
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


def test_two_labels_of_one_frame_are_refused(tmp_path):
    original(tmp_path, ['0006R0_f00930'])
    shutil.copytree(tmp_path / 'LabeledApproved_full', tmp_path / 'copy')
    with pytest.raises(DataError, match='are labels of one frame; keep one'):
        names(tmp_path, 'train')


def test_a_missing_label_of_the_original_is_reported(tmp_path):
    original(tmp_path, ['0006R0_f00930', '0006R0_f00960'])
    (tmp_path / 'LabeledApproved_full/0006R0_f00960_L.png').unlink()
    with pytest.raises(DataError, match='f00960.png: no label, .*f00960_L.png is missing'):
        names(tmp_path, 'train')
