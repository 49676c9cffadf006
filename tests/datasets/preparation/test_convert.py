"""Conversion of labels: equal classes, resumed and verified, and bad files do not stop it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.image_files import write_image
from datasets.preparation.convert import Conversion, convert_labels
from support import programs

CONVERTED = '_labelTrainIds.png'  # ending of converted files


def values(path):
    """Return the pixel values of a file."""
    return np.asarray(Image.open(path))


@pytest.fixture(scope='module')
def small_cityscapes(shared, tmp_path_factory):
    """A train split of four copies of the small frame, with labelIds only."""
    root = tmp_path_factory.mktemp('cityscapes')
    source = shared / 'data/samples/cityscapes_256x128'
    for number in range(4):
        for folder, ending in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelIds')):
            target = root / folder / 'train' / 'city'
            target.mkdir(parents=True, exist_ok=True)
            published = next(source.rglob(f'*_{ending}.png'))
            shutil.copy(published, target / f'city_{number:06}_000000_{ending}.png')
    return root


@pytest.fixture
def cityscapes(small_cityscapes, tmp_path):
    """A modifiable copy of the small data set."""
    shutil.copytree(small_cityscapes, tmp_path, dirs_exist_ok=True)
    return tmp_path


def opened(root):
    """Open the train split."""
    return datasets.open('cityscapes', root, 'train')


def test_label_ids_become_the_genuine_train_ids(shared, tmp_path):
    """The frames that have both kinds are equal in every pixel."""
    genuine = shared / 'data/samples/cityscapes'
    ids = sorted(genuine.rglob('*_labelIds.png'))
    for path in (*ids, *genuine.rglob('*_leftImg8bit.png')):
        if 'lindau' in path.name:
            continue
        target = tmp_path / path.relative_to(genuine)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    for split in ('train', 'val'):
        dataset = datasets.open('cityscapes', tmp_path, split)
        assert convert_labels(dataset) == Conversion(len(dataset), 0, 0, ())
    assert len(ids) == 4
    for path in ids:
        name = path.relative_to(genuine).as_posix().replace('_labelIds', '_labelTrainIds')
        assert np.array_equal(values(tmp_path / name), values(genuine / name))


def test_cocostuff_10k_and_164k_agree(shared, tmp_path):
    """The 10k samples were made from 164k labels; 171 of the 182 numbers have a class, in order."""
    samples = shared / 'data/samples'
    for name in ('cocostuff164k', 'cocostuff10k_from164k'):
        shutil.copytree(samples / name, tmp_path / name)
    for split in ('train', 'val'):
        large = datasets.open('cocostuff164k', tmp_path / 'cocostuff164k', split)
        assert convert_labels(large) == Conversion(len(large), 0, 0, ())
        small = datasets.open('cocostuff10k', tmp_path / 'cocostuff10k_from164k', split)
        assert convert_labels(small) == Conversion(len(small), 0, 0, ())
    names = (samples / 'cocostuff164k' / 'labels.txt').read_text().splitlines()
    numbers = {int(line.split(':')[0]): line.split(': ')[1] for line in names}
    classes = datasets.info('cocostuff164k').classes
    compared = 0
    for path in (tmp_path / 'cocostuff10k_from164k').rglob(f'*{CONVERTED}'):
        number = path.name.removesuffix(CONVERTED)[-12:]
        (published,) = samples.glob(f'cocostuff164k/annotations/*/{number}.png')
        (other,) = (tmp_path / 'cocostuff164k').rglob(f'{number}{CONVERTED}')
        assert np.array_equal(values(path), values(other))
        for value in np.unique(values(published)):
            (found,) = np.unique(values(path)[values(published) == value])
            assert found == 255 if value == 255 else classes[found] == numbers[value + 1]
        compared += 1
    assert compared == 5


@pytest.mark.parametrize('folder', ['labels', 'images'])
def test_colours_of_the_original_camvid_become_classes(folder, shared, tmp_path):
    """Genuine labels of the SegNet edition, painted in the original's colours, are restored.

    The labels may be beside the images or in another folder.
    """
    genuine = sorted((shared / 'data/camvid/valannot').iterdir())[:3]
    colours = [
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 0),
    ]  # fmt: skip
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    for path in genuine:
        shutil.copy(shared / 'data/camvid/val' / path.name, tmp_path / 'images')
        painted = np.array(colours, np.uint8)[values(path)]
        Image.fromarray(painted).save(tmp_path / folder / f'{path.stem}_L.png')
    dataset = datasets.open('camvid', tmp_path, 'val')
    assert convert_labels(dataset) == Conversion(3, 0, 0, ())
    for path in genuine:
        expected = np.where(values(path) == 11, 255, values(path))
        assert np.array_equal(values(tmp_path / folder / f'{path.stem}{CONVERTED}'), expected)
    again = datasets.open('camvid', tmp_path, 'val')
    assert convert_labels(again) == Conversion(0, 3, 0, ())
    assert all(sample.label.name.endswith(CONVERTED) for sample in again)
    assert all(np.array_equal(again.label(i), dataset.label(i)) for i in range(3))


def test_the_reader_prefers_converted_files(cityscapes):
    before = list(map(opened(cityscapes).label, range(4)))
    convert_labels(opened(cityscapes))
    after = opened(cityscapes)
    assert all(sample.label.name.endswith(CONVERTED) for sample in after)
    for index in range(4):
        assert np.array_equal(after.label(index), before[index])


def test_a_second_call_writes_only_missing_wrong_or_old_files(cityscapes):
    assert convert_labels(opened(cityscapes)) == Conversion(4, 0, 0, ())
    assert convert_labels(opened(cityscapes)) == Conversion(0, 4, 0, ())
    missing, damaged, wrong, older = (sample.label for sample in opened(cityscapes))
    genuine = values(missing)
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:200])
    write_image(wrong, (genuine + (genuine == 0)).astype(np.uint8))
    os.utime(older, (0, 0))
    assert convert_labels(opened(cityscapes)) == Conversion(4, 0, 0, ())
    for path in (missing, damaged, wrong, older):
        assert np.array_equal(values(path), genuine)
    assert convert_labels(opened(cityscapes)) == Conversion(0, 4, 0, ())


@pytest.mark.parametrize('processes', [1, 2])
def test_bad_files_are_reported_and_the_others_converted(processes, cityscapes):
    dataset = opened(cityscapes)
    dataset[1].label.write_bytes(dataset[1].label.read_bytes()[:300])
    write_image(dataset[2].label, np.full((128, 256), 77, np.uint8))
    outcome = convert_labels(dataset, processes)
    assert (outcome.written, outcome.kept, outcome.plain) == (2, 0, 0)
    truncated, out_of_range = outcome.problems
    assert truncated.startswith(f'{dataset[1].label}: ')
    assert out_of_range.startswith(f'{dataset[2].label}: holds the values 77')
    label_ids = datasets.reader('cityscapes').PREPARATION.label_endings
    targets = [label_ids.target(sample.label).exists() for sample in dataset]
    assert targets == [True, False, False, True]


def test_a_full_disk_is_reported_and_leaves_no_partial_files(cityscapes):
    dataset = opened(cityscapes)
    with programs.full_disk(100):
        outcome = convert_labels(dataset)
    assert outcome.written == 0
    assert all('cannot be written (File too large' in problem for problem in outcome.problems)
    assert not list(cityscapes.rglob(f'*{CONVERTED}'))
    assert convert_labels(opened(cityscapes)).written == 4


def test_labels_of_other_data_sets_need_no_conversion(shared):
    voc = datasets.open('voc', shared / 'data/samples/VOCdevkit/VOC2012', 'val')
    assert convert_labels(voc) == Conversion(0, 0, len(voc), ())
    segnet = datasets.open('camvid', shared / 'data/camvid', 'val')
    assert convert_labels(segnet) == Conversion(0, 0, len(segnet), ())


def test_train_ids_without_ids_are_not_converted(cityscapes):
    convert_labels(opened(cityscapes))
    for path in cityscapes.rglob('*_labelIds.png'):
        path.unlink()
    assert convert_labels(opened(cityscapes)) == Conversion(0, 0, 4, ())
