"""Kinds of paths, atomic writes, digests."""

import hashlib
import json
import os
import re
import stat
from pathlib import Path

import pytest

from common import files
from common.errors import UserError


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    with files.replacing(path) as temporary:
        temporary.write_text('one')
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text('two')
        raise ZeroDivisionError
    assert path.read_text() == 'one'
    assert os.listdir(path.parent) == ['a.txt']


def test_an_unwritable_place_is_the_users_mistake(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file' / 'a', tmp_path / ('x' * 300)):
        with (
            pytest.raises(UserError, match='cannot be written'),
            files.replacing(path) as temporary,
        ):
            temporary.touch()


def test_digests_of_files(tmp_path):
    content = b'0123456789' * 300_000
    (tmp_path / 'a').write_bytes(content)
    assert files.sha256_of(tmp_path / 'a') == hashlib.sha256(content).hexdigest()


def test_unwritable_targets_are_reported_before_the_work(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file/a.png: cannot be written'):
        files.check_writable(tmp_path / 'file' / 'a.png')
    with pytest.raises(UserError, match='is a folder; name a file'):
        files.check_writable(tmp_path)
    files.check_writable(tmp_path / 'new' / 'a.png')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'new']
    assert not list((tmp_path / 'new').iterdir())


def test_kinds_of_paths(tmp_path):
    (tmp_path / 'file').touch()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    kinds = {
        'file': 'file',
        '.': 'folder',
        'none': None,
        'file/a': None,
        'pipe': None,
        'link': None,
    }
    assert {name: files.kind_of(tmp_path / name) for name in kinds} == kinds


@pytest.mark.parametrize(
    ('name', 'reason'),
    [('x' * 300, 'File name too long'), ('loop', 'symbolic links'), ('a\0b', 'null')],
)
def test_a_path_that_cannot_be_examined_is_the_users_mistake(name, reason, tmp_path):
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    shown = re.escape(name.replace('\0', r'\x00'))
    with pytest.raises(UserError, match=rf'{shown}: cannot be read \(.*{reason}'):
        files.kind_of(tmp_path / name)


def test_a_path_in_a_closed_folder_is_the_users_mistake(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(os, 'stat', refuse)
    with pytest.raises(UserError, match=r'a.h5: cannot be read \(Permission denied\)'):
        files.kind_of(tmp_path / 'a.h5')


def test_a_durable_file_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    done = []

    def fsync(descriptor):
        done.append(os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}')))

    def replace(source, target):
        done.append('replace')

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'replace', replace)
    with files.replacing(tmp_path / 'a.txt', durable=True) as temporary:
        temporary.touch()
    assert done == [temporary.name, 'replace', tmp_path.name]
    del done[:]
    with files.replacing(tmp_path / 'a.txt') as temporary:
        temporary.touch()
    assert done == ['replace']


def test_devices_and_pipes_receive_the_content_and_are_not_replaced(tmp_path):
    """Even the superuser's ``--json /dev/stdout`` leaves the device as it is."""
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.check_writable(pipe)
    files.write_json(pipe, {'a': 1})
    assert os.read(reader, 100) == b'{\n  "a": 1\n}\n'
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    target = tmp_path / 'out.txt'
    with open(target, 'w') as file:
        link = Path(f'/dev/fd/{file.fileno()}')
        files.check_writable(link)
        files.write_json(link, {})
        file.write('more')
    assert target.read_text() == '{}\nmore'
    assert [path.name for path in sorted(tmp_path.iterdir())] == ['out.txt', 'pipe']


def test_json_is_printable_ascii(tmp_path):
    hostile = 'a\x1b\x7f\x9b\u202e\udc9bü'
    files.write_json(tmp_path / 'a', {hostile: hostile})
    text = (tmp_path / 'a').read_text('ascii')
    assert text.replace('\n', '').isprintable()
    assert json.loads(text) == {hostile: hostile}


def test_a_device_that_takes_nothing_is_named(tmp_path):
    link = tmp_path / 'full'
    link.symlink_to('/dev/full')
    with pytest.raises(UserError, match=r'full: cannot be written \(No space left on device\)'):
        files.write_json(link, {})
    assert link.is_symlink()


def test_only_large_files_are_announced(tmp_path, caplog, monkeypatch):
    caplog.set_level('INFO')
    path = tmp_path / 'weights.h5'
    path.write_bytes(bytes(1000))
    files.log_if_large('reading', path)
    assert not caplog.messages
    monkeypatch.setattr(files, 'LARGE_BYTES', 1000)
    files.log_if_large('reading', path)
    assert caplog.messages == [f'reading {path}, 0 MB']


def test_a_list_of_numbers_is_one_line_of_json(tmp_path):
    document = {
        'matrix': [[1, 20, 0], [0, 3, 4]],
        'floats': [1e-05, -2.5],
        'one': [7],
        'texts': ['[\n  1,\n  2\n]', '1', 'x\x7f'],
        'mixed': [1, None],
        'none': [],
    }
    files.write_json(tmp_path / 'a.json', document)
    text = (tmp_path / 'a.json').read_text()
    assert json.loads(text) == document
    lines = [line.strip() for line in text.splitlines()]
    for line in ('[1, 20, 0],', '[0, 3, 4]', '"floats": [1e-05, -2.5],', '"one": [7],'):
        assert line in lines
    assert '\x7f' not in text
