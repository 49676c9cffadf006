"""Your own data: a folder of images, a folder of labels and a description."""

import pickle

import numpy as np
import pytest
import yaml
from PIL import Image

import datasets
from common.errors import InputError
from datasets import DataError
from datasets.preparation.check import check_split
from support import stand_ins

COLOURS = {'road': [128, 64, 128], 'car': [0, 0, 142], 'tree': [0, 100, 0]}
INDICES = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)


def make(root, description, label=INDICES, names='ab', images='images', labels='labels', end=''):
    """Write a data set in which all images have the same label."""
    for name in names:
        for folder, file, array in (
            (images, f'{name}.jpg', stand_ins.image(4, 6)),
            (labels, f'{name}{end}.png', label),
        ):
            (root / folder).mkdir(exist_ok=True, parents=True)
            Image.fromarray(array).save(root / folder / file)
    (root / 'dataset.yaml').write_text(yaml.safe_dump(description, sort_keys=False))
    return root


def opened(root, split='train', **options):
    return datasets.open('folder', root, split, **options)


def test_labels_may_be_class_indices(tmp_path):
    dataset = opened(make(tmp_path, {'classes': ['road', 'car', 'tree']}))
    assert dataset.info.classes == ('road', 'car', 'tree')
    assert dataset.info.palette == datasets.distinct_colours(3)
    assert [sample.name for sample in dataset] == ['a', 'b']
    assert np.array_equal(dataset.pair(1)[1], INDICES)


def test_labels_may_be_colours(tmp_path):
    picture = np.array(list(COLOURS.values()), np.uint8)[INDICES]
    dataset = opened(make(tmp_path, {'classes': COLOURS}, picture))
    assert dataset.info.palette == tuple(map(tuple, COLOURS.values()))
    assert np.array_equal(dataset.label(0), INDICES)
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).label(0), INDICES)
    picture[1, 2] = 9
    Image.fromarray(picture).save(tmp_path / 'labels/a.png')
    with pytest.raises(InputError, match=r'a.png: the colour \(9, 9, 9\) at row 1, column 2'):
        dataset.label(0)


def test_the_label_format_is_detected_unless_configured(tmp_path):
    make(tmp_path, {'classes': COLOURS})
    assert np.array_equal(opened(tmp_path).label(0), INDICES)
    make(tmp_path, {'classes': COLOURS, 'label_format': 'colours'})
    with pytest.raises(InputError, match='a.png: grey values, but colours are expected'):
        opened(tmp_path).label(0)
    picture = np.array(list(COLOURS.values()), np.uint8)[INDICES]
    make(tmp_path, {'classes': COLOURS, 'label_format': 'indices'}, picture)
    with pytest.raises(InputError, match='a.png: a colour image, but class indices are exp'):
        opened(tmp_path).label(0)
    make(tmp_path, {'classes': list(COLOURS)}, picture)
    with pytest.raises(DataError, match='a.png: a colour image, but dataset.yaml defines no class'):
        opened(tmp_path).label(0)


def test_palette_files_are_indices_or_colours(tmp_path):
    """Drawing programs save the colours in an order of their own."""
    make(tmp_path, {'classes': COLOURS, 'label_format': 'colours'})
    image = Image.fromarray(2 - INDICES, 'P')
    image.putpalette([value for colour in list(COLOURS.values())[::-1] for value in colour])
    image.save(tmp_path / 'labels/a.png')
    assert np.array_equal(opened(tmp_path).label(0), INDICES)
    make(tmp_path, {'classes': COLOURS}, names='b')
    with pytest.raises(InputError, match='its palette gives index 0 the colour of class 2'):
        opened(tmp_path).label(0)


def test_values_and_colours_can_be_ignored(tmp_path):
    label = INDICES.copy()
    label[0, 0], label[0, 1] = 7, 255
    dataset = opened(make(tmp_path, {'classes': list(COLOURS), 'ignore': [7]}, label))
    expected = np.where(label == 7, 255, label)
    assert np.array_equal(dataset.label(0), expected)
    label[0, 2] = 3
    make(tmp_path, {'classes': list(COLOURS), 'ignore': [7]}, label)
    with pytest.raises(InputError, match='a.png: holds the values 3, which have no meaning'):
        opened(tmp_path).label(0)
    picture = np.array(list(COLOURS.values()), np.uint8)[INDICES]
    picture[expected == 255] = 0
    make(tmp_path, {'classes': COLOURS, 'ignore': [[0, 0, 0]]}, picture)
    assert np.array_equal(opened(tmp_path).label(0), expected)


def test_folders_define_splits(tmp_path):
    description = {'classes': list(COLOURS), 'images': 'photos', 'labels': 'truth'}
    for split, names in (('train', 'ab'), ('val', 'c'), ('test', 'd')):
        make(tmp_path, description, INDICES, names, f'photos/{split}', f'truth/{split}')
    (tmp_path / 'truth/test/d.png').unlink()
    found = {split: [s.name for s in opened(tmp_path, split)] for split in ('train', 'val')}
    assert found == {'train': ['a', 'b'], 'val': ['c']}
    assert len(opened(tmp_path, 'trainval')) == 3
    assert opened(tmp_path, 'test')[0].label is None


def test_lists_define_splits(tmp_path):
    make(tmp_path, {'classes': list(COLOURS), 'label_suffix': '_mask'}, names='abc', end='_mask')
    (tmp_path / 'train.txt').write_text('c\na.jpg\n')
    (tmp_path / 'val.txt').write_text('b\n')
    dataset = opened(tmp_path)
    assert [sample.name for sample in dataset] == ['c', 'a']
    assert dataset.describe() == '2 pairs'
    (tmp_path / 'train.txt').write_text('c\n')
    assert opened(tmp_path).describe() == '1 pair; 1 not used: images/a.jpg (in no list)'
    assert opened(tmp_path, 'val')[0].label == tmp_path / 'labels/b_mask.png'
    with pytest.raises(DataError, match='nothing found for the split test'):
        opened(tmp_path, 'test')


def test_a_listed_image_without_a_label_is_left_out_and_told(tmp_path):
    make(tmp_path, {'classes': list(COLOURS)}, names='abc')
    (tmp_path / 'images/b.jpg').rename(tmp_path / 'images/b.tif')
    (tmp_path / 'labels/c.png').unlink()
    (tmp_path / 'train.txt').write_text('a\nc\n')
    (tmp_path / 'val.txt').write_text('b.tif\n')
    dataset = opened(tmp_path)
    assert dataset.describe() == '1 pair; 1 not used: images/c.jpg (no label)'
    messages = [problem.message for problem in check_split(dataset).problems]
    assert messages == [f'{tmp_path}/images/c.jpg: has no label']  # b.png has an image
    (tmp_path / 'images').rename(tmp_path / 'photos')
    with pytest.raises(DataError, match="no image called 'a'; none was found at all"):
        opened(tmp_path)


def test_without_splits_all_images_are_train(tmp_path):
    make(tmp_path, {'classes': list(COLOURS)})
    with pytest.raises(DataError, match='nothing found for the split val.*lists train.txt'):
        opened(tmp_path, 'val')
    (tmp_path / 'train.txt').symlink_to('nothing')  # such as a list on a disk that is not mounted
    with pytest.raises(DataError, match='train.txt: cannot be read .No such file'):
        opened(tmp_path)


def test_images_without_a_label_are_left_out_and_told(tmp_path):
    make(tmp_path, {'classes': list(COLOURS)}, names='abc')
    (tmp_path / 'labels/b.png').unlink()
    (tmp_path / 'images/c.jpg').unlink()
    dataset = opened(tmp_path)
    assert [sample.name for sample in dataset] == ['a']
    found = '1 pair; 2 not used: images/b.jpg (no label), labels/c.png (a label without an image)'
    assert dataset.describe() == found
    (tmp_path / 'labels/a.png').unlink()
    with pytest.raises(DataError, match=r'nothing found .* 3 not used: images/a.jpg \(no label\)'):
        opened(tmp_path)


def test_sub_folders_and_all_image_endings_are_used(tmp_path):
    """Ten images, three in sub-folders, two TIFF, one without a label."""
    make(tmp_path, {'classes': list(COLOURS)}, names='abcdefghij')
    for name, target in (('a', 'x/y/a.jpg'), ('b', 'x/b.jpg'), ('c', 'x/y/c.JPG')):
        for folder, old, new in (('images', f'{name}.jpg', target), ('labels', f'{name}.png', '')):
            path = tmp_path / folder / (new or target[:-3] + 'png')
            path.parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / folder / old).rename(path)
    for name in 'de':
        photo = Image.open(tmp_path / f'images/{name}.jpg')
        photo.save(tmp_path / f'images/{name}.tiff')
        photo.close()
        (tmp_path / f'images/{name}.jpg').unlink()
    (tmp_path / 'labels/f.png').unlink()
    dataset = opened(tmp_path)
    assert dataset.describe() == '9 pairs; 1 not used: images/f.jpg (no label)'
    assert [sample.name for sample in dataset][-3:] == ['x/b', 'x/y/a', 'x/y/c']
    for index in range(9):
        assert dataset.pair(index)[0].shape == (4, 6, 3)
    assert pickle.loads(pickle.dumps(dataset)).unused == (), 'workers do not need them'


def test_all_files_that_are_not_used_are_told(tmp_path):
    description = {'classes': list(COLOURS)}
    for split in ('train/', 'val/', ''):
        make(tmp_path, description, INDICES, 'a', f'images/{split}', f'labels/{split}')
    for name in ('train/a.png', 'train/b.heic', 'val/c.heic', 'extra/a.jpg', '.hidden.jpg'):
        (tmp_path / 'images' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'images' / name).touch()
    (tmp_path / 'labels/train/d.tif').touch()
    (tmp_path / 'train.txt').write_text('a')
    found = {
        file.path.relative_to(tmp_path).as_posix(): file.reason for file in opened(tmp_path).unused
    }
    assert found == {
        'images/train/a.png': 'a.jpg has the same name',
        'images/train/b.heic': 'its ending is not read',
        'labels/train/d.tif': 'its ending is not read',
        'images/a.jpg': 'in the folder of no split',
        'train.txt': 'folders define the splits',
        'images/extra/a.jpg': 'in the folder of no split',
    }
    first = '1 pair; 6 not used: images/train/a.png (a.jpg has the same name), images/train/b.heic'
    assert opened(tmp_path).describe().startswith(first)
    assert opened(tmp_path).describe().endswith('images/a.jpg (in the folder of no split), ...')


def test_linked_folders_and_masks_beside_images(tmp_path):
    make(tmp_path / 'real', {}, names='ab', images='x', labels='x', end='_L')
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own' / 'data').symlink_to(tmp_path / 'real')
    (tmp_path / 'real/x/again').symlink_to(tmp_path / 'real')  # a cycle
    text = 'classes: [a, b, c]\nimages: data\nlabels: data\nlabel_suffix: _L\n'
    (tmp_path / 'own/dataset.yaml').write_text(text)
    dataset = opened(tmp_path / 'own')
    assert [sample.name for sample in dataset] == ['x/a', 'x/b']
    assert dataset.describe() == '2 pairs; 1 not used: data/dataset.yaml (its ending is not read)'


@pytest.mark.parametrize(
    'description, problem',
    [
        ({}, 'write "key: value" lines|classes must be'),
        ({'classes': []}, 'classes must be 1 to 255 different names'),
        ({'classes': ['a', 'a']}, 'classes must be 1 to 255 different names'),
        ({'classes': {'a': [1, 2]}}, r'the colour of a must be \[red, green, blue\]'),
        ({'classes': {'a': [1, 2, 256]}}, r'the colour of a must be \[red, green, blue\]'),
        ({'classes': {'a': [1, 2, 3], 'b': [1, 2, 3]}}, 'two classes have the same colour'),
        ({'classes': ['a'], 'labls': 'x'}, 'unknown key labls; the nearest is labels'),
        ({'classes': ['a'], 'labels': 3}, 'labels must be text'),
        ({'classes': ['a'], 'x' * 10**5: 3}, 'unknown key x+...; the nearest is'),
        ({'classes': ['a'], 'images': 'x' * 300}, 'images: .* cannot be read .File name too long'),
        ({'classes': ['a'], 'labels': 'a\0b'}, 'labels: .* cannot be read .embedded null'),
        ({'classes': ['a'], 'images': '/'}, 'images is /, the root of all files'),
        ({'classes': ['a' * 201]}, 'the class a+... has 201 characters; shorten it'),
        (
            {'classes': ['a'], 'label_format': 'rgb'},
            "label_format must be indices or colours, not 'rgb'",
        ),
        ({'classes': ['a'], 'ignore': 3}, 'ignore must be a list'),
        ({'classes': ['a'], 'ignore': [300]}, 'ignore has 300'),
    ],
)
def test_wrong_descriptions_are_reported(tmp_path, description, problem):
    with pytest.raises(DataError, match=f'dataset.yaml: ({problem})'):
        opened(make(tmp_path, description))


def test_a_broken_or_missing_description_is_reported(tmp_path):
    make(tmp_path, {'classes': ['a']})
    (tmp_path / 'dataset.yaml').write_text('classes: [a')
    with pytest.raises(DataError, match='dataset.yaml: not valid YAML in line 1'):
        opened(tmp_path)
    (tmp_path / 'dataset.yaml').unlink()
    command = f'python -m datasets.prepare init -d {tmp_path}'
    missing = rf'missing in this folder; write it with {command}, or .*"classes: \[road, car\]"'
    with pytest.raises(DataError, match=f'{missing}; expected: dataset.yaml with'):
        opened(tmp_path)
    (tmp_path / 'Dataset.yml').write_text('classes: [a]')
    with pytest.raises(DataError, match=f'{missing}, or rename Dataset.yml to dataset.yaml; exp'):
        opened(tmp_path)
    make(tmp_path / 'own', {'classes': ['a']})
    meant = f'dataset.yaml is missing in this folder; it is in {tmp_path / "own"}; name that'
    with pytest.raises(DataError, match=meant):
        opened(tmp_path)


def test_a_list_of_pairs_can_replace_the_splits(tmp_path):
    make(tmp_path, {'classes': list(COLOURS)})
    (tmp_path / 'some.lst').write_text('images/b.jpg labels/b.png\n')
    assert np.array_equal(opened(tmp_path, list_file=tmp_path / 'some.lst').label(0), INDICES)
