"""Outputs that would overwrite inputs or other outputs."""

import os
from pathlib import Path

import pytest

from common import own_modules
from common.errors import UserError
from common.writing.protected_files import ProtectedFiles


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with the file ``in.png`` and links to it."""
    monkeypatch.chdir(tmp_path)
    Path('in.png').write_bytes(b'pixels')
    Path('soft.png').symlink_to('in.png')
    os.link('in.png', 'hard.png')
    Path('folder').mkdir()
    Path('way').symlink_to('folder')
    return tmp_path


def refused(protected: ProtectedFiles, path) -> str:
    with pytest.raises(UserError) as error:
        protected.claim('-o', path)
    return str(error.value)


@pytest.mark.parametrize('name', ['in.png', 'soft.png', 'hard.png', 'folder/../in.png', '~'])
def test_an_input_is_refused_under_all_of_its_names(name, place):
    protected = ProtectedFiles().add('an image', [None, 'none.png', 'in.png'])
    path = place / 'in.png' if name == '~' else name
    assert refused(protected, path) == (
        f'-o {path}: is an image and would be overwritten; name another file'
    )
    protected.claim('-o', 'new.png')


def test_an_output_is_claimed_once_even_before_it_exists(place):
    protected = ProtectedFiles()
    protected.claim('--json', 'folder/new.json')
    for name in ('folder/new.json', 'way/new.json', place / 'folder' / 'new.json'):
        assert f'{name}: is a result of --json and would be overwritten' in refused(protected, name)
    protected.claim('-o', 'hard.png')  # an older result
    assert 'is a result of -o' in refused(protected, 'in.png')


def test_inputs_below_a_folder_are_examined_only_for_outputs_there(place):
    """A data set is searched for an output outside of it only if that has several names."""
    Path('folder/a.png').write_bytes(b'a')
    Path('b.png').write_bytes(b'b')
    examined = []

    def everything():
        examined.append(True)
        yield Path('folder/a.png')
        yield Path('in.png')

    protected = ProtectedFiles().add('data', everything(), below='way')
    for name in ('b.png', 'folder/new.png', 'new.png'):
        protected.claim('-o', name)
    assert not examined
    assert 'is data and' in refused(protected, 'hard.png')
    assert 'is data and' in refused(protected, 'folder/a.png')


@pytest.mark.parametrize('content', ['pixels', '[1]', '\x00'])
def test_a_report_replaces_only_reports(content, place):
    protected = ProtectedFiles()
    for name, old in (('a.json', None), ('b.json', ''), ('c.json', ' {"miou": 1}')):
        if old is not None:
            Path(name).write_text(old)
        protected.claim_json('--json', name)
    Path('other').write_text(content)
    with pytest.raises(UserError, match='--json other: is not a report in JSON and would be over'):
        protected.claim_json('--json', 'other')
    with pytest.raises(UserError, match='folder: is a folder; name a file'):
        protected.claim_json('--json', Path('folder'))


def test_devices_and_pipes_take_any_number_of_outputs(place):
    os.mkfifo('pipe')
    protected = ProtectedFiles().add('an input', ['/dev/null', 'pipe'])
    for name in ('/dev/null', '/dev/null', 'pipe'):
        protected.claim_json('--json', name)


def test_own_modules_are_inputs_of_every_command(place, monkeypatch):
    Path('own.py').write_text('')
    monkeypatch.setattr(own_modules, '_imported', ['own.py'])
    assert 'is the module of --import and' in refused(ProtectedFiles(), 'own.py')
