"""A data set and an augmentation that modules outside of the packages register, with --import."""

import json
import sys

import cv2
import numpy as np
import pytest

import datasets
from common import command
from common.errors import UserError
from common.sections import SectionError
from datasets.loading import augmentations
from datasets.loading.augmentations import Augmentation, AugmentationKeys, registry
from datasets.loading.loader import Loader
from datasets.registry import READERS
from engine import config as configs
from engine.config import schema
from support import data_server, programs, stand_ins

OWN = programs.PROJECT / 'tests' / 'support'
STRIPES, MIDDLE = OWN / 'own_stripes.py', OWN / 'own_middle.py'
MEAN, STD = (0, 0, 0), (1, 1, 1)
HEIGHT, WIDTH = 12, 20


def truth(index):
    """Rows of the classes 0, 1 and 2 in turn, from another class on in each sample; the last row is
    ignored.
    """
    labels = ((np.arange(HEIGHT) + index) // 2 % 3).astype(np.uint8)
    labels[-1] = 255
    return labels[:, None].repeat(WIDTH, 1)


def picture(index):
    return stand_ins.image(HEIGHT, WIDTH, seed=index)


@pytest.fixture
def published():
    """The archive of the data set: four pictures to train, two to validate."""
    members = {}
    for index in range(6):
        place = f'stripes-1.0/{"train" if index < 4 else "val"}/{index}'
        values = np.array([0, 100, 200] + [1] * 253, np.uint8)[truth(index)]
        for name, array in ((f'{place}.png', picture(index)), (f'{place}_values.png', values)):
            members[name] = cv2.imencode('.png', array)[1].tobytes()
    return data_server.zipped(members)


@pytest.fixture
def server(published):
    server = data_server.Server()
    server.archives['stripes.zip'] = published
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def imported(monkeypatch):
    """What --import does with both modules, undone at the end."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    words = ['--import', str(STRIPES), '--import', str(MIDDLE)]
    assert command.run_command(command.Parser, lambda args: 0, words) == 0
    yield
    del READERS._parts['stripes'], registry.AUGMENTATIONS._parts['middle']
    for path in (STRIPES, MIDDLE):
        del sys.modules[path.stem]


def prepared(root, *words):
    return programs.run(
        '-m', 'datasets.prepare', 'stripes', '--import', STRIPES, '-d', root, *words
    )


@pytest.fixture
def root(server, tmp_path):
    """The data set, downloaded by the command."""
    finished = prepared(tmp_path, '--download', '--url', server.url)
    assert finished.returncode == 0, finished.stderr
    assert f'stripes: the pictures in {tmp_path} are made up' in finished.stderr
    return tmp_path


def test_the_commands_know_the_data_set(root, tmp_path):
    facts, sheet = tmp_path / 'facts.json', tmp_path / 'sheet.png'
    finished = prepared(
        root, '--convert', '--check', '--stats', '--pack', tmp_path / 'packed', '--processes', 2,
        '--json', facts
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = json.loads(facts.read_text())
    assert [results['convert'][split]['written'] for split in ('train', 'val')] == [4, 2]
    for index in range(6):
        path = root / 'pictures' / ('train' if index < 4 else 'val') / f'{index}_indices.png'
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), truth(index))
    assert results['check']['train']['problems'] == []
    pixels = [results['check']['train']['classes'][name]['pixels'] for name in ('dark', 'bright')]
    assert pixels == [sum(int((truth(i) == k).sum()) for i in range(4)) for k in (0, 2)]
    mean = np.mean([picture(index)[..., ::-1] for index in range(4)], axis=(0, 1, 2))
    np.testing.assert_allclose(results['stats']['train']['mean'], mean)
    shown = programs.run(
        '-m', 'datasets.show', 'stripes', '--import', STRIPES, '-d', root, '-o', sheet
    )
    assert shown.returncode == 0, shown.stderr
    assert sheet.exists()
    listed = prepared(root, '--help').stdout
    assert 'folder, stripes' in listed
    unknown = programs.run('-m', 'datasets.prepare', 'stripe', '--import', STRIPES, '--check')
    assert "no data set is called 'stripe'; the nearest are stripes" in programs.error_line(unknown)


def test_the_data_set_is_loaded_by_worker_processes(root, imported):
    """With an augmentation of one's own; each worker imports both modules itself."""
    dataset = datasets.open('stripes', root, 'train')
    transform = augmentations.create(
        {'augmentation': 'middle', 'image_height': 8, 'image_width': 10, 'middle_zoom': 2}
    )
    rows, columns = slice(HEIGHT - 4, HEIGHT + 4), slice(WIDTH - 5, WIDTH + 5)
    with Loader(dataset, transform, 4, MEAN, STD, 'bgr', shuffle=False, workers=2) as loader:
        images, labels = loader.next()
        assert [sample.name for sample in loader.samples] == ['0', '1', '2', '3']
    for index in range(4):
        whole = cv2.resize(picture(index), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_LINEAR)
        expected = whole[rows, columns].transpose(2, 0, 1).astype(float)
        assert abs(images[index] - expected).max() <= 1
        doubled = truth(index).repeat(2, 0).repeat(2, 1)[rows, columns]
        assert np.array_equal(labels[index, 0], np.where(doubled == 255, -1, doubled.astype(int)))


def test_a_config_sets_the_keys_of_an_augmentation(imported, tmp_path):
    def loaded(**keys):
        values = {'augmentation': 'middle', 'image_height': 8, 'image_width': 10, **keys}
        return configs.load(overrides=[f'{key}={value}' for key, value in values.items()])

    assert augmentations.create(loaded()).flip == 0
    assert augmentations.create(loaded(middle_zoom=3)).zoom == 3
    for zoom, limits in ((5, 'at least 1 and at most 4'), (1.5, 'a whole number')):
        with pytest.raises(UserError, match=f'^middle_zoom: must be {limits}, not {zoom} .*--set'):
            loaded(middle_zoom=zoom)
    with pytest.raises(UserError, match='must be scale_crop, resize_crop, short_sides or middle'):
        loaded(augmentation='midle')
    with pytest.raises(UserError, match='middle_zoon: unknown key; the nearest is middle_zoom'):
        loaded(middle_zoon=2)
    with pytest.raises(
        UserError, match='^augmentation: middle needs image_height, image_width too'
    ):
        augmentations.create({'augmentation': 'middle'})


def test_the_reference_has_what_an_augmentation_adds_or_changes(imported):
    paragraphs = {
        paragraph.split('\n')[0]: paragraph for paragraph in schema.reference().split('\n\n')
    }
    middle = paragraphs['Augmentation: middle']
    assert 'middle_zoom: whole number, at least 1 and at most 4; default: 1' in middle
    assert 'flip: number, at least 0 and at most 1; default: 0\n' in middle
    assert 'pad_label' not in middle
    assert 'photometric_distortion: true or false; default: false' in paragraphs['Augmentation']
    assert (
        'photometric_distortion: true or false; default: true'
        in (paragraphs['Augmentation: scale_crop'])
    )
    assert (
        'crop_scales: list of 2 numbers, greater than 0; default: [1, 2]'
        in (paragraphs['Augmentation: resize_crop'])
    )


def test_a_key_that_two_augmentations_have_is_that_of_the_chosen_one(imported):
    chosen = schema.keys_for({'augmentation': 'middle'})
    assert (chosen['flip'].default, chosen['crop_scales'].default) == (0, (0.5, 2))
    assert schema.keys_for({'augmentation': 'resize_crop'})['crop_scales'].default == (1, 2)


def test_a_name_is_registered_once(imported):
    with pytest.raises(UserError, match='^a data set called stripes is registered already; '):
        datasets.register(sys.modules['own_stripes'])
    again = Augmentation('middle', AugmentationKeys, augmentations.create)
    with pytest.raises(UserError, match='^an augmentation called middle is registered already; '):
        augmentations.register(again)
    finished = programs.run(
        '-m', 'datasets.prepare', 'camvid', '--import', STRIPES, '--import', STRIPES, '--check',
        '-d', '/nowhere',
    )  # fmt: skip
    assert '/nowhere: no such folder' in programs.error_line(finished)  # imported once


def test_what_is_no_reader_cannot_be_registered():
    class Nothing:
        INFO = datasets.DatasetInfo('nothing', (), ())

    with pytest.raises(datasets.DataError, match='cannot be registered .*; it needs INFO'):
        datasets.register(Nothing())
    assert 'nothing' not in datasets.names()


def test_a_section_error_names_its_key():
    with pytest.raises(SectionError, match='^flip: must be at least 0 and at most 1, not 2'):
        augmentations.create({'image_height': 4, 'image_width': 4, 'flip': 2})
