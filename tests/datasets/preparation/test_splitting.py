"""prepare split: seeded lists with a fair part of each class, without separated scenes."""

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.preparation.splitting import balance
from datasets.preparation.splitting.groups import group_by_name
from support import mask_data, prepare_runs


def scenes(count, classes, seed=0, largest=1):
    """Return groups whose classes are as uneven as those of photos: some are rare."""
    rng = np.random.RandomState(seed)
    frequency = 0.6 ** np.arange(classes)
    shown = rng.rand(count, classes) < 0.2 + 0.8 * frequency
    pixels = (shown * rng.gamma(0.5, 1e5 * frequency, (count, classes))).astype(np.int64)
    images = rng.randint(1, largest + 1, count)
    return balance.Groups(images, pixels * images[:, None])


def worst(groups, split, splits):
    """Return the largest relative deviation of a class's share, by a formula of its own."""
    whole = groups.pixels.sum(axis=0) / groups.pixels.sum()
    found = []
    for number in range(splits):
        own = groups.pixels[split == number].sum(axis=0)
        found.append(abs(own / own.sum() / whole - 1).max())
    return max(found)


def usual(groups, wanted):
    """Return the median of :func:`worst` for random splits."""
    splits = [balance.divide_at_random(groups, wanted, seed) for seed in range(20)]
    return np.median([worst(groups, split, len(wanted)) for split in splits])


@pytest.mark.parametrize('wanted', [(240, 60), (210, 60, 30)])
def test_classes_are_divided_far_more_evenly_than_at_random(wanted):
    groups = scenes(300, 12)
    split = balance.divide(groups, wanted, seed=3)
    assert np.bincount(split).tolist() == list(wanted)
    assert worst(groups, split, len(wanted)) < usual(groups, wanted) / 4
    found = balance.deviations(groups, split, len(wanted))
    assert found.max() == pytest.approx(worst(groups, split, len(wanted)))


def test_groups_of_many_sizes_keep_the_numbers_of_images():
    groups = scenes(60, 8, largest=9)
    wanted = [
        round(0.8 * groups.images.sum()),
        groups.images.sum() - round(0.8 * groups.images.sum()),
    ]
    split = balance.divide(groups, wanted, seed=0)
    assert abs(groups.images[split == 1].sum() - wanted[1]) <= 5
    assert worst(groups, split, 2) < usual(groups, wanted) / 3


def test_a_rare_class_is_in_each_split_and_one_that_cannot_be_in_train():
    pixels = np.full((50, 3), 1000)
    pixels[:, 1:] = 0
    pixels[[7, 8], 1], pixels[9, 2] = 2000, 77
    groups = balance.Groups(np.ones(50, np.int64), pixels)
    for seed in range(3):
        split = balance.divide(groups, (40, 10), seed)
        assert {split[7], split[8]} == {0, 1}
        assert split[9] == 0


def test_the_seed_decides():
    groups = scenes(60, 5)
    one, same, other = (balance.divide(groups, (48, 12), seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ('pattern', 'expected'),
    [
        ('(.*)_', [[0, 1], [2], [3]]),  # the help's examples
        ('(.*)_.*', [[0, 1], [2], [3]]),
        ('(.*)/', [[0, 1, 2], [3]]),
        (r'(\w\d)_', [[0, 1, 3], [2]]),
        ('^.', [[0, 1, 2], [3]]),
        ('(.*2_0.*)|.*', [[0], [1], [2], [3]]),  # the others are left alone
        ('a/(s1)_|.*', [[0, 1], [2], [3]]),
        (None, [[0], [1], [2], [3]]),
    ],
)
def test_names_make_groups(pattern, expected):
    names = ['a/s1_0001', 'a/s1_0002', 'a/s2_0001', 'b/s1_0003']
    assert group_by_name(names, pattern) == expected


def masks(root, count=20):
    """Write a data set whose images belong to scenes of two frames each."""
    arrays = [
        mask_data.random_values(*([0, 1, 255] if n % 4 else [0, 2]), seed=n) for n in range(count)
    ]
    mask_data.write(root, {'classes': ['road', 'car', 'tree'], 'ignore': [255]}, *arrays)
    for folder in ('images', 'labels'):
        for path in sorted((root / folder).iterdir()):
            number = int(path.stem[1:])
            path.rename(path.with_name(f'scene{number // 2}_{number % 2}{path.suffix}'))
    return root


def names(root, split):
    return [sample.name for sample in datasets.open('folder', root, split)]


def test_lists_are_read_and_the_table_is_that_of_the_masks(tmp_path, capsys):
    root = masks(tmp_path)
    status, lines, _ = prepare_runs.run(
        capsys, 'split', '-d', root, '--val', 0.2, '--test', 2, '--seed', 5
    )
    assert status == 0
    parts = {split: names(root, split) for split in ('train', 'val', 'test')}
    assert [len(part) for part in parts.values()] == [14, 4, 2]
    assert len(set().union(*parts.values())) == 20
    assert lines[:3] == [
        'train: 14 of 20 images (70.0%)', 'val: 4 of 20 images (20.0%)',
        'test: 2 of 20 images (10.0%)',
    ]  # fmt: skip
    tree = next(line for line in lines if line.startswith('tree'))
    counted = []
    for part in parts.values():
        values = [np.asarray(Image.open(root / 'labels' / f'{name}.png')) for name in part]
        labelled = sum((value != 255).sum() for value in values)
        trees = [(value == 2).sum() for value in values]
        counted.append((f'{100 * sum(trees) / labelled:.3f}', str(sum(n > 0 for n in trees))))
    assert tree.split() == ['tree', *(share for share, _ in counted), *(n for _, n in counted)]
    assert lines[-2].startswith('largest deviation of a class from its share of all pixels: ')
    assert lines[-1] == f'train.txt, val.txt, test.txt written to {root}'


def test_scenes_stay_together_and_lists_are_not_overwritten(tmp_path, capsys):
    root = masks(tmp_path)
    status, lines, _ = prepare_runs.run(capsys, 'split', '-d', root, '--group', '(.*)_')
    assert status == 0
    assert lines[1] == 'val: 4 of 20 images (20.0%) in 2 of 10 groups'
    found = {
        split: {name.split('_')[0] for name in names(root, split)} for split in ('train', 'val')
    }
    assert not found['train'] & found['val']
    before = (root / 'train.txt').read_bytes()
    message = prepare_runs.refused(capsys, 'split', '-d', root)
    assert message == (
        f'{root}/train.txt: exists and is not overwritten; move away train.txt to split anew'
    )
    assert (root / 'train.txt').read_bytes() == before


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--val', 1.5], '--val 1.5: must be a share below 1, such as 0.2, or a number of the 20'),
        (['--val', 'nan'], '--val nan: must be a share'),
        (['--val', 0.5, '--test', 0.5], '--val 0.5 --test 0.5: leave none of 20 images for train'),
        (['--seed', -1], '--seed -1: must be a number from 0 to 4294967295'),
        (['--seed', 2**32], '--seed 4294967296: must be'),
        (['--val', 0], '--val 0: a validation split is needed'),
        (['--group', '('], '--group (: is no regular expression'),
        (['--group', 'x(.*)'], '--group x(.*): does not match scene0_0; write'),
        (['--group', 'scene'], '--group scene: all 20 images are one group'),
        (['--group', r'_(\d)', '--test', 0.1], '2 groups are too few for 3 splits'),
    ],
)
def test_impossible_splits_are_refused(options, message, tmp_path, capsys):
    root = masks(tmp_path)
    assert message in prepare_runs.refused(capsys, 'split', '-d', root, *options)
    assert not list(root.glob('*.txt'))


def test_folders_of_splits_and_names_that_a_list_cannot_hold_are_refused(tmp_path, capsys):
    root = masks(tmp_path / 'a', 2)
    (root / 'images/scene0_0.jpg').rename(root / 'images/two\nlines.jpg')
    (root / 'labels/scene0_0.png').rename(root / 'labels/two\nlines.png')
    assert "the image 'two\\nlines' cannot stand in a list" in prepare_runs.refused(
        capsys, 'split', '-d', root
    )
    (root / 'images/val').mkdir()
    assert 'images/val: this folder defines a split' in prepare_runs.refused(
        capsys, 'split', '-d', root
    )


def test_the_form_must_come_first(capsys):
    assert 'split: must come first, as in python -m datasets.prepare split -d DATA' in (
        prepare_runs.refused(capsys, '-d', 'x', 'split')
    )
