"""Where the root of a data set is looked for."""

from pathlib import Path

import pytest

from datasets.readers import layout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project, and a working directory beside it."""
    for folder in ('project', 'work'):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(layout, 'PROJECT', tmp_path / 'project')
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path / 'project'


def test_the_root_is_here_or_in_the_project(project):
    here, there = Path('data/voc'), project / 'data/voc'
    assert layout.data_root('voc') == here, 'the place to name when neither is there'
    there.mkdir(parents=True)
    assert layout.data_root('voc') == there
    here.mkdir(parents=True)
    assert layout.data_root('voc') == here


def test_a_root_that_is_given_is_the_root(project, monkeypatch):
    (project / 'data/voc').mkdir(parents=True)
    monkeypatch.setenv('HOME', '/home/somebody')
    assert layout.data_root('voc', '~/voc') == Path('/home/somebody/voc')
    assert layout.data_root('voc', Path('elsewhere')) == Path('elsewhere')
