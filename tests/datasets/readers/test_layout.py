"""Layout: where the root of a data set is searched."""

from pathlib import Path

import pytest

from datasets.readers import layout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder, with a working directory beside it."""
    for folder in ('project', 'work'):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(layout, 'PROJECT', tmp_path / 'project')
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'project'


def test_the_default_root_is_in_the_working_directory_or_the_project(project):
    here, there = Path('data/voc'), project / 'data/voc'
    assert layout.data_root('voc') == here, 'the folder to report if neither exists'
    there.mkdir(parents=True)
    assert layout.data_root('voc') == there
    here.mkdir(parents=True)
    assert layout.data_root('voc') == here


def test_the_users_root_is_used_and_its_home_expanded(project, monkeypatch):
    (project / 'data/voc').mkdir(parents=True)
    monkeypatch.setenv('HOME', '/home/somebody')
    assert layout.data_root('voc', '~/voc') == Path('/home/somebody/voc')
    assert layout.data_root('voc', Path('elsewhere')) == Path('elsewhere')
