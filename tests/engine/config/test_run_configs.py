"""The effective config of a run: how it is recognised, and which weights it resolves."""

import shutil

import pytest

from common.errors import UserError
from engine import config
from engine.runs.run_folder import HEAD_LINE, RunFolder

KEYS = 'network: ddrnet23_slim\nnum_classes: 5\n'
INHERITED = f'{KEYS}weights: /elsewhere/published.h5\n'


@pytest.fixture
def run(tmp_path):
    """A run of an older version, whose config has inherited weights; nothing is saved yet."""
    folder = RunFolder(tmp_path / 'runs' / 'mine')
    folder.path.mkdir(parents=True)
    folder.config.write_text(f'{HEAD_LINE} 0.1.0\n{INHERITED}')
    return folder


def weights_of(path, *overrides):
    """Return the weights of a config."""
    return config.load(path, overrides).get('weights')


def test_the_weights_of_a_run_are_the_best_else_the_final_else_the_newest(run, caplog):
    assert weights_of(run.config) is None
    (line,) = caplog.messages
    assert '/elsewhere/published.h5, are not of this run and are ignored' in line
    for newer in (run.weights(9), run.weights(11), run.final, run.best):
        newer.touch()
        assert weights_of(run.config) == str(newer)
    shutil.copytree(run.path, run.path.parent / 'copied')
    assert weights_of(run.path.parent / 'copied') == str(run.path.parent / 'copied' / 'best.h5')


def test_a_run_is_named_by_its_folder_in_any_spelling(run, tmp_path, monkeypatch):
    run.best.touch()
    (tmp_path / 'link').symlink_to(run.path)
    (tmp_path / 'link.yaml').symlink_to(run.config)
    monkeypatch.chdir(tmp_path)
    for spelling in ('runs/mine', 'runs/mine/', 'runs/mine/config.yaml', 'link', 'link.yaml'):
        loaded = config.load(spelling)
        assert (loaded.name, loaded.path, loaded.run.path) == ('mine', run.config, run.path)
        assert loaded['weights'] == str(run.best)
    monkeypatch.chdir(run.path)
    assert config.load('.')['weights'] == str(run.best)
    with pytest.raises(UserError, match='runs: this folder has no config.yaml; name a config'):
        config.load(tmp_path / 'runs')


def test_the_users_choice_wins(run, tmp_path):
    """A key on the command line, a file in the run's folder, and a config that inherits."""
    run.best.touch()
    run.final.touch()
    assert weights_of(run.config, 'weights=other.h5') == 'other.h5'
    run.config.write_text(f'{HEAD_LINE} 0.1.0\n{KEYS}weights: final.h5\n')
    assert weights_of(run.config) == str(run.final)
    run.config.write_text(f'{HEAD_LINE} 0.1.0\n{INHERITED}')
    child = tmp_path / 'child.yaml'
    child.write_text('_base_: runs/mine/config.yaml\n')
    loaded = config.load(child)
    assert (loaded['weights'], loaded.name, loaded.run) == (str(run.best), 'child', None)
    child.write_text('_base_: runs/mine\n')
    assert weights_of(child) == str(run.best)
    child.write_text('_base_: runs/mine/config.yaml\nweights: mine.h5\n')
    assert weights_of(child) == 'mine.h5'


def test_another_number_of_classes_replaces_the_names_that_a_run_wrote(run):
    names = 'classes: [a, b, c, d, e]\n'
    run.config.write_text(f'{HEAD_LINE} 0.2.0\n{KEYS}{names}')
    assert config.load(run.config)['classes'] == list('abcde')
    loaded = config.load(run.config, ['num_classes=2'])
    assert config.class_info(loaded).classes == ('class 0', 'class 1')
    child = run.path.parent / 'child.yaml'
    child.write_text('_base_: mine\nnum_classes: 2\n')
    assert config.class_info(config.load(child)).classes == ('class 0', 'class 1')
    own = run.path.parent / 'own.yaml'
    own.write_text(KEYS + names)
    with pytest.raises(UserError, match='classes: 5 names .* but num_classes is 2'):
        config.load(own, ['num_classes=2'])


@pytest.mark.parametrize(
    ('name', 'head', 'beside', 'is_run'),
    [
        ('config.yaml', True, (), True),
        ('config.yaml', False, ('state.h5',), True),
        ('config.yaml', False, ('model_param_00000004.h5',), True),
        ('config.yaml', False, ('lock',), True),
        ('edited.yaml', True, ('state.h5',), True),
        ('config.yaml', False, (), False),
        ('config.yaml', False, ('best.h5', 'notes.txt'), False),
        ('edited.yaml', True, (), False),
        ('edited.yaml', False, ('state.h5',), False),
    ],
)
def test_two_of_three_signs_make_a_run(name, head, beside, is_run, tmp_path):
    """The signs are the name, the head line, and files that only a training writes."""
    path = tmp_path / name
    path.write_text((f'{HEAD_LINE} 0.2.0\n' if head else '') + INHERITED)
    for file in beside:
        (tmp_path / file).touch()
    (tmp_path / 'final.h5').touch()
    loaded = config.load(path)
    assert (loaded.run is not None) == is_run
    own = {'weights': str(tmp_path / 'final.h5'), 'name': tmp_path.name}
    others = {'weights': '/elsewhere/published.h5', 'name': path.stem}
    expected = own if is_run else others
    if 'best.h5' in beside and is_run:
        expected['weights'] = str(tmp_path / 'best.h5')
    assert {'weights': loaded['weights'], 'name': loaded.name} == expected
