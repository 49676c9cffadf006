"""Classes without a pixel, and images that are not used: train.py refuses or tells."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from engine.distributed.processes import Processes
from engine.training import class_coverage
from engine.training.class_coverage import CropWatch
from support import numbered_dataset, train_runs
from support.train_runs import Training, data, scores

__all__ = ['data']
SIX_CLASSES = 'classes: [a, b, c, d, e, rare]\nlabel_format: indices\n'


@pytest.fixture
def own(data, tmp_path, monkeypatch):
    """A training of two iterations on its own copy of the data, with a sixth, unlabelled class."""
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    shutil.copytree(data, tmp_path / 'own')
    (tmp_path / 'own' / 'dataset.yaml').write_text(SIX_CLASSES)
    return Training(tmp_path / 'own', tmp_path, '--workers', 0, num_classes=6, max_iter=2)


def test_a_class_without_a_pixel_is_refused_unless_allowed(own, tmp_path, capsys, caplog):
    caplog.set_level('INFO')
    for path in (own.data / 'labels/val').iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels == 4, 0, labels)).save(path)
    line = own.refused(capsys, 'run')
    assert f'{own.data}: the split train shows 1 of 6 classes (rare) in no pixel' in line
    assert line.endswith('train all the same with --allow-missing-classes')
    assert 'counting the classes of 16 label files' in caplog.text
    caplog.clear()
    run = own.whole('run', '--allow-missing-classes')
    assert 'counting the classes' not in caplog.text, 'the first run has counted them'
    assert 'the split train shows 1 of 6 classes (rare) in no pixel; no network' in caplog.text
    log = (run / 'train.log').read_text()
    assert 'the split val has no pixel of 1 of 6 classes (e); its mIoU leaves out' in log
    assert 'folder train: 16 pairs' in log
    caplog.clear()
    own.whole('run', '--resume', '--allow-changes', '--set', 'max_iter=3')  # no run is lost
    assert 'the split train shows 1 of 6 classes (rare) in no pixel; no network' in caplog.text
    for label in (own.data / 'labels/train').iterdir():
        Image.fromarray(np.full((40, 56), 255, np.uint8)).save(label)
    (own.data / 'dataset.yaml').write_text(f'{SIX_CLASSES}ignore: [255]\n')
    line = own.refused(capsys, 'void', '--allow-missing-classes')
    assert 'the split train has no pixel of any class, as its 16 labels are ignored' in line
    for label in (own.data / 'labels/train').iterdir():
        label.write_bytes(b'no picture')
    line = own.refused(capsys, 'void', '--skip-bad', '--allow-missing-classes')
    assert 'none of its 16 labels can be used; train without --skip-bad to learn why' in line


def test_large_splits_are_watched_in_the_first_epoch(own, monkeypatch, caplog, capsys):
    """Of 16 images in batches of 2, the first epoch has 8 iterations."""
    monkeypatch.setattr(class_coverage, 'MAX_SCANNED_IMAGES', 15)
    more = ('--no-validation', '--set', 'max_iter=9')
    run = own.whole('run', *more)
    assert 'counting the classes' not in caplog.text
    told = f'{own.data}: the split train: no crop of the first epoch shows 1 of 6 classes (rare)'
    assert caplog.text.count(told) == 1
    lines = (run / 'train.log').read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if told in line)
    assert 'iteration 6/9' in lines[place - 1]
    assert 'iteration 9/9' in lines[place + 1]


def test_the_watch_equals_the_labels(tmp_path, caplog):
    dataset = numbered_dataset.write_dataset(tmp_path)
    watch = CropWatch(dataset, 2)
    watch.see(np.array([3, -1, 4, 5], np.int32).reshape(1, 1, 2, 2))
    assert not watch.end_iteration(Processes())
    watch.see(np.array([0, 1, 2, 9], np.int32).reshape(2, 1, 2, 1))
    assert watch.end_iteration(Processes())
    assert 'no crop of the first epoch shows 3 of 10 classes (6, 7, 8)' in caplog.text
    watch = CropWatch(dataset, 1, start=5)
    watch.see(np.full((1, 1, 2, 2), -1, np.int32))
    with pytest.raises(DataError, match='no crop of the epoch since iteration 5 shows 10 of 10'):
        watch.end_iteration(Processes())


def test_a_run_that_resumes_in_the_first_epoch_is_watched_again(tmp_path, monkeypatch):
    dataset = numbered_dataset.write_dataset(tmp_path)
    lengths = SimpleNamespace(batch_size=2, accumulation=1)
    assert class_coverage.watch_of(dataset, lengths, Processes(), 0) is None
    monkeypatch.setattr(class_coverage, 'MAX_SCANNED_IMAGES', 9)
    assert class_coverage.watch_of(dataset, lengths, Processes(), 4) is not None
    assert class_coverage.watch_of(dataset, lengths, Processes(), 5) is None


def test_train_and_evaluate_tell_what_is_not_used_and_what_is_shared(own, caplog):
    """Validation images that were trained on are named by both, with what is not used."""
    caplog.set_level('INFO')
    (own.data / 'dataset.yaml').write_text(SIX_CLASSES.replace(', rare', ''))
    images, labels = own.data / 'images', own.data / 'labels'
    for path in (images / 'val').iterdir():  # they are those of train
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
    shutil.copy(images / 'train/4.png', images / 'val/again.png')
    shutil.copy(labels / 'train/4.png', labels / 'val/again.png')
    (labels / 'val/3.png').unlink()
    run = own.whole('run', '--set', 'num_classes=5', '--set', 'max_iter=1')
    told = [
        'folder val: 5 pairs; 1 not used: images/val/3.png (no label)',
        f'{own.data}: the split val: 1 of 5 images are trained on as well '
        '(images/val/again.png = images/train/4.png)',
    ]
    assert all(line in (run / 'train.log').read_text() for line in told)
    caplog.clear()
    train_runs.write_config(own.folder, num_classes=5)
    scores(own, run / 'final.h5')
    assert all(caplog.text.count(line) == 1 for line in told)
    (run / 'config.yaml').write_text(
        (run / 'config.yaml').read_text().replace(str(own.data), str(own.data / 'gone'))
    )
    caplog.clear()
    scores(own, run / 'final.h5', '--split', 'train')
    assert f'{run / "final.h5"} was trained on a split of this name' in caplog.text
