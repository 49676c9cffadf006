"""Data sets by name: genuine files, splits, lists, wrong folders, and a user's own reader."""

import json
import shutil
import sys

import cv2
import numpy as np
import pytest

import datasets
from common import command
from common.errors import InputError, UserError
from datasets import DataError, prepare, show
from support import programs, stripes
from support.genuine_data import GENUINE

CASES = [(*key, split, count) for key, splits in GENUINE.items() for split, count in splits.items()]


@pytest.mark.parametrize('name, folder, split, count', CASES)
def test_genuine_files_are_found_and_images_fit_labels(shared, name, folder, split, count):
    dataset = datasets.open(name, shared / 'data' / folder, split)
    assert len(dataset) == count
    assert len({sample.name for sample in dataset.samples}) == count
    assert not any(sample.name.startswith('/') or '.' in sample.name for sample in dataset.samples)
    for index in {0, count - 1}:
        image, label = dataset.pair(index)
        assert image.dtype == label.dtype == np.uint8
        assert image.shape == (*label.shape, 3)


@pytest.mark.parametrize('name, folder', GENUINE)
def test_readers_refuse_the_files_of_other_data_sets(shared, name, folder):
    shares_files = {'ade20k': 'ade20k32', 'ade20k32': 'ade20k'}
    for other in datasets.names():
        if other not in (name, shares_files.get(name)):
            lacking = datasets.reader(other).INFO.unmarked or f'does not contain {other}'
            with pytest.raises(DataError, match=f'{lacking}; '):
                datasets.open(other, shared / 'data' / folder, 'val')


def test_trainval_is_train_and_val(small_camvid):
    dataset = datasets.open('camvid', small_camvid, 'trainval')
    assert [sample.name for sample in dataset] == ['a', 'b', 'c']


def test_duplicate_names_are_refused(small_camvid):
    shutil.copy(small_camvid / 'train/a.png', small_camvid / 'val')
    shutil.copy(small_camvid / 'trainannot/a.png', small_camvid / 'valannot')
    datasets.open('camvid', small_camvid, 'train')
    with pytest.raises(DataError, match='val/a.png and .*train/a.png are both called a'):
        datasets.open('camvid', small_camvid, 'trainval')
    shutil.copy(small_camvid / 'train/a.png', small_camvid / 'train/a.PNG')
    with pytest.raises(DataError, match='have the same name'):
        datasets.open('camvid', small_camvid, 'train')


def test_an_image_without_a_label_is_reported(small_camvid):
    (small_camvid / 'trainannot/b.png').unlink()
    with pytest.raises(DataError, match=r'train/b.png: no label, .*trainannot/b.png .*; 1 of 2 im'):
        datasets.open('camvid', small_camvid, 'train')
    dataset = datasets.open('camvid', small_camvid, 'train', complete=False)
    assert dataset[1].label == small_camvid / 'trainannot/b.png'
    (small_camvid / 'testannot/d.png').unlink()  # in a test split, labels are optional
    with pytest.raises(InputError, match='testannot/d.png: cannot be read'):
        datasets.open('camvid', small_camvid, 'test').label(0)


def test_a_label_without_an_image_is_told(small_camvid):
    (small_camvid / 'train/b.png').unlink()
    (small_camvid / 'train/c.jpg').touch()
    dataset = datasets.open('camvid', small_camvid, 'train')
    assert dataset.describe() == (
        '1 pair; 2 not used: trainannot/b.png (a label without an image), '
        'train/c.jpg (its ending is not read)'
    )


def test_a_wrong_root_is_refused_with_the_right_one(small_camvid):
    with pytest.raises(DataError, match='none: no such folder; expected there: .*https://'):
        datasets.open('camvid', small_camvid / 'none', 'train')
    (small_camvid / 'other').mkdir()
    meant = f'does not contain camvid; it is in {small_camvid}; name that'
    with pytest.raises(DataError, match=f'other: {meant}'):
        datasets.open('camvid', small_camvid / 'other', 'train')
    with pytest.raises(DataError, match=meant):
        datasets.open('camvid', small_camvid.parent, 'train')
    with pytest.raises(DataError, match='not contain cityscapes; it looks like camvid; is that'):
        datasets.open('cityscapes', small_camvid, 'train')


def test_empty_and_unknown_splits_are_refused(small_camvid):
    shutil.rmtree(small_camvid / 'val')
    with pytest.raises(DataError, match='nothing found for the split val; expected: <split>/'):
        datasets.open('camvid', small_camvid, 'val')
    with pytest.raises(DataError, match="no split 'vla'; there are train, val, test, trainval"):
        datasets.open('camvid', small_camvid, 'vla')


def test_a_list_file_replaces_the_split(small_camvid):
    (small_camvid / 'some.lst').write_text('val/c.png\tvalannot/c.png\n')
    dataset = datasets.open('camvid', small_camvid, 'train', small_camvid / 'some.lst')
    assert [sample.name for sample in dataset] == ['val/c']
    (small_camvid / 'some.lst').write_text('val/c.png\n')
    with pytest.raises(DataError, match='val/c.png: no label; 1 of 1'):
        datasets.open('camvid', small_camvid, 'train', small_camvid / 'some.lst')
    with pytest.raises(InputError, match='val/c.png: the split test has no labels'):
        datasets.open('camvid', small_camvid, 'test', small_camvid / 'some.lst').label(0)
    (small_camvid / 'some.lst').write_text('\n')
    with pytest.raises(DataError, match='some.lst: nothing found'):
        datasets.open('camvid', small_camvid, 'train', small_camvid / 'some.lst')


def test_the_commands_work_on_a_users_data_set(
    stripes_server, own_modules, tmp_path, capsys, caplog
):
    """Its worker processes import the user's module as well."""
    root, facts, sheet = (tmp_path / name for name in ('stripes', 'facts.json', 'sheet.png'))
    own = ['stripes', '--import', str(stripes.OWN_STRIPES), '-d', str(root)]
    actions = [
        '--download', '--url', stripes_server.url, '--convert', '--check', '--stats',
        '--pack', str(tmp_path / 'packed'), '--processes', '1', '--json', str(facts)
    ]  # fmt: skip
    assert command.run_command(prepare.build_parser, prepare.main, own + actions) == 0
    assert f'stripes: the pictures in {root} are made up' in caplog.text
    results = json.loads(facts.read_text())
    assert [results['convert'][split]['written'] for split in ('train', 'val')] == [4, 2]
    for index, split in enumerate(stripes.SPLITS):
        path = root / 'pictures' / split / f'{index}_indices.png'
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(found, stripes.truth(index))
    assert results['check']['train']['problems'] == []
    pixels = [results['check']['train']['classes'][name]['pixels'] for name in ('dark', 'bright')]
    assert pixels == [sum(int((stripes.truth(i) == k).sum()) for i in range(4)) for k in (0, 2)]
    mean = np.mean([stripes.picture(index)[..., ::-1] for index in range(4)], axis=(0, 1, 2))
    np.testing.assert_allclose(results['stats']['train']['mean'], mean)
    assert command.run_command(show.build_parser, show.main, [*own, '-o', str(sheet)]) == 0
    assert sheet.exists()
    assert ', stripes' in prepare.build_parser().format_help()
    capsys.readouterr()
    assert command.run_command(prepare.build_parser, prepare.main, ['stripe', '--check']) == 2
    problem = "no data set is called 'stripe'; the nearest are stripes"
    assert problem in capsys.readouterr().err
    parallel = ('--check', '--split', 'train', '--processes', 2)
    finished = programs.run('-m', 'datasets.prepare', *own, *parallel)
    assert finished.returncode == 0, finished.stderr
    assert 'stripes train: 4 images, no problems' in finished.stdout


def test_a_name_can_be_registered_once(own_modules, capsys):
    """A module that --import names twice is imported once."""
    with pytest.raises(UserError, match='^a data set called stripes is registered already; '):
        datasets.register(sys.modules['own_stripes'])
    twice = ['--import', str(stripes.OWN_STRIPES)] * 2
    words = ['camvid', *twice, '--check', '-d', '/nowhere']
    assert command.run_command(prepare.build_parser, prepare.main, words) == 2
    assert '/nowhere: no such folder' in capsys.readouterr().err


def test_an_incomplete_reader_is_refused():
    class Nothing:
        INFO = datasets.DatasetInfo('nothing', (), ())

    with pytest.raises(datasets.DataError, match='cannot be registered .*; define INFO'):
        datasets.register(Nothing())
    assert 'nothing' not in datasets.names()
