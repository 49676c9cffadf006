"""train.py and evaluate.py refuse masks that mean something else than they would read."""

import numpy as np
import pytest

from engine.training import class_coverage
from support import evaluate_runs, mask_data
from support.mask_data import random_values, with_palette
from support.tiny_config import write_tiny_config
from support.train_runs import Training

RED, GREEN = (200, 0, 0), (0, 200, 0)
BINARY, THREE = random_values(0, 1), random_values(0, 1, 2)
GOOD = {2: BINARY, 3: with_palette(THREE, {1: RED, 2: GREEN})}
CASES = [
    (BINARY * 255, 2, 'the 2 label files have no other values than 0 and 255'),
    (with_palette(THREE, {1: GREEN, 2: RED}), 3, 'its palette shows index 1 as (0, 200, 0)'),
]


def written(root, classes, train, val):
    """Write a data set with two masks in each split; the first is good for three classes."""
    for split, mask in (('train', train), ('val', val)):
        first = GOOD[3] if classes == 3 else mask
        mask_data.write(root, {'classes': list('abc')[:classes]}, first, mask, split=split)
    return root


@pytest.mark.parametrize('mask, classes, problem', CASES)
def test_training_refuses_them_in_each_split(tmp_path, capsys, mask, classes, problem):
    for split in ('train', 'val'):
        masks = {'train': GOOD[classes], 'val': GOOD[classes], split: mask}
        root = written(tmp_path / split, classes, **masks)
        training = Training(root, tmp_path, num_classes=classes, max_iter=1)
        name = 'm1' if classes == 3 else 'm0'
        error = training.refused(capsys, f'run-{split}')
        assert error.startswith(f'error: {root}/labels/{split}/{name}.png: {problem}')


def test_training_judges_a_part_of_large_splits(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(class_coverage, 'MAX_SCANNED_IMAGES', 1)
    root = written(tmp_path / 'own', 2, BINARY * 255, BINARY)
    error = Training(root, tmp_path, num_classes=2, max_iter=1).refused(capsys, 'run')
    assert f'{root}/labels/train/m0.png: the only label file has no other values than' in error


def test_training_compares_the_palettes_of_both_splits(tmp_path, capsys):
    mask, classes, problem = CASES[1]
    good = {'classes': ['a', 'b', 'c']}
    mask_data.write(tmp_path, good, GOOD[3], GOOD[3], split='train')
    mask_data.write(tmp_path, good, mask, split='val')
    error = Training(tmp_path, tmp_path, num_classes=3, max_iter=1).refused(capsys, 'run')
    assert error.startswith(f'error: {tmp_path}/labels/val/m0.png: {problem}')


@pytest.mark.parametrize('mask, classes, problem', CASES)
def test_evaluation_refuses_them(tmp_path, capsys, mask, classes, problem):
    root = written(tmp_path / 'data', classes, GOOD[classes], mask)
    options = ['-cfg', write_tiny_config(tmp_path, 'folder', classes), '-c', 'cpu', '-d', root]
    error = evaluate_runs.refused(capsys, *options, '--backend', 'nnabla')
    assert problem in error and f'{root}/labels/val/' in error


def test_a_training_on_0_and_255_works_as_the_message_says(tmp_path):
    mask = (BINARY * 255).astype(np.uint8)
    classes = {'background': [0, 0, 0], 'object': [255, 255, 255]}
    for split in ('train', 'val'):
        mask_data.write(tmp_path / 'data', {'classes': classes}, mask, mask, split=split)
    Training(tmp_path / 'data', tmp_path, num_classes=2, max_iter=1).whole('run')
