"""Mistakes of users of evaluate.py: a one-line error before the first prediction."""

import shutil

import cv2
import numpy as np
import pytest

from support import mpi_jobs, programs
from support.evaluate_runs import CAMVID, cut_camvid, refused
from support.tiny_config import tiny_camvid


@pytest.fixture
def small(shared, tmp_path):
    """A small CamVid test set that the test can modify."""
    return cut_camvid(shared / 'data' / 'camvid', tmp_path / 'small')


def test_bad_data_is_found_before_the_first_prediction(small, tmp_path, capsys):
    options = ['-d', small, *tiny_camvid(), '--split', 'test', '--save-labels', tmp_path / 'out']
    last_label = sorted((small / 'testannot').iterdir())[-1]
    last_image = small / 'test' / last_label.name
    good_label, good_image = last_label.read_bytes(), last_image.read_bytes()
    out_of_range = np.full((90, 120), 12, np.uint8)
    for label, message in (
        (cv2.imencode('.png', out_of_range)[1].tobytes(), 'holds the values 12'),
        (good_label[: len(good_label) // 2], last_label.name),
        (cv2.imencode('.png', out_of_range[:50] * 0)[1].tobytes(), '120x50'),
    ):
        last_label.write_bytes(label)
        line = refused(capsys, *options)
        assert message in line
        assert str(last_label) in line
        assert not list((tmp_path / 'out').rglob('*.png'))
    last_label.unlink()
    assert last_label.stem in refused(capsys, *options)
    last_label.write_bytes(good_label)
    last_image.write_bytes(good_image[:3000])
    assert str(last_image) in refused(capsys, *options)


def test_unusable_data_folders_splits_and_options_are_refused(small, shared, tmp_path, capsys):
    (tmp_path / 'nothing').mkdir()
    cityscapes = shared / 'data' / 'samples' / 'cityscapes'
    for options, message in (
        (['-d', tmp_path / 'none'], 'none'),
        (['-d', tmp_path / 'nothing'], 'nothing'),
        (['-d', cityscapes], str(cityscapes)),
        (['-d', small, '--split', 'trian'], "no split 'trian'"),
        (['-d', small, '--limit', '0'], '--limit must be at least 1'),
        (['-d', small, '--format-only', tmp_path / 'x'], 'has no test server'),
        (['-d', small, '--format-only', 'x', '--json', 'y'], 'leave out --json'),
        (['-d', small, '--json', '/proc/x.json'], 'cannot be written'),
        (['-d', small, '--set', 'dataset='], 'dataset.yaml'),
        (
            ['-d', small, '--set', 'dataset=voc'],
            '21 names (the data set voc, --set), but num_classes is 11 (',
        ),
    ):
        assert message in refused(capsys, *CAMVID, '--split', 'test', *options)


def test_results_never_overwrite_the_data_or_each_other(small, tmp_path, capsys):
    options = ['-d', small, *tiny_camvid(), '--split', 'test']
    labels = {p.name: p.read_bytes() for p in (small / 'testannot').iterdir()}
    line = refused(capsys, *options, '--save-labels', small / 'testannot')
    assert 'would be overwritten' in line
    assert labels == {p.name: p.read_bytes() for p in (small / 'testannot').iterdir()}
    both = ['--save-labels', tmp_path / 'same', '--visualize', tmp_path / 'same']
    assert 'would be overwritten' in refused(capsys, *options, *both)
    assert 'is a folder; name a file' in refused(capsys, *options, '--json', tmp_path)


def test_a_mistake_under_mpirun_is_reported_once_and_ends_the_job(small):
    last = sorted((small / 'testannot').iterdir())[-1]
    shutil.copy(programs.PROJECT / 'resources' / 'street.jpg', last)
    process = mpi_jobs.run(2, 'evaluate.py', '--bogus')
    assert process.returncode != 0
    assert process.stderr.count('error: unrecognized arguments') == 1
    process = mpi_jobs.run(2, 'evaluate.py', '-d', small, *tiny_camvid(), '--split', 'test')
    assert process.returncode != 0
    errors = [e for e in process.stderr.splitlines() if e.startswith('error: ')]
    assert len(errors) == 1
    assert last.name in errors[0]
    assert 'Traceback' not in process.stderr
