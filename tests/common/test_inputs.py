"""Input files named by files, folders and patterns."""

import os
import shlex
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import inputs
from common.errors import UserError


def names(found):
    return [str(item.relative) for item in found]


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.JPG', 'sub/c.jpeg', 'sub/d.mp4', 'notes.txt', 'out/a.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_stands_for_all_images_and_videos_in_it(folder):
    found = inputs.find_inputs([str(folder)], leave_out=folder / 'out')
    assert names(found) == ['a.JPG', 'b.png', 'sub/c.jpeg', 'sub/d.mp4']
    assert [item.is_video for item in found] == [False, False, False, True]


def test_linked_folders_are_searched_and_other_files_counted(folder, tmp_path_factory, caplog):
    caplog.set_level('INFO')
    elsewhere = tmp_path_factory.mktemp('elsewhere')
    (elsewhere / 'e.png').touch()
    (elsewhere / 'up').symlink_to(folder)  # a cycle
    (folder / 'link').symlink_to(elsewhere)
    for name in ('photo.heic', 'sub/c.json', '.hidden'):
        (folder / name).touch()
    found = inputs.find_inputs([str(folder)], leave_out=folder / 'out')
    assert names(found) == ['a.JPG', 'b.png', 'link/e.png', 'sub/c.jpeg', 'sub/d.mp4']
    assert f'{folder}: 3 files whose names do not end as those of images or videos' in caplog.text
    assert caplog.text.strip().endswith(': notes.txt, photo.heic, sub/c.json')


def test_patterns_and_files_give_each_input_once(folder):
    found = inputs.find_inputs([f'{folder}/*.png', f'{folder}/**/*.jp*g', f'{folder}/b.png'])
    assert names(found) == ['b.png', 'out/a.jpg', 'sub/c.jpeg']
    (folder / '[1].png').touch()
    assert names(inputs.find_inputs([f'{folder}/[1].png'])) == ['[1].png']


def test_results_are_skipped_only_below_the_searched_folder(folder):
    everything = ['a.JPG', 'b.png', 'out/a.jpg', 'sub/c.jpeg', 'sub/d.mp4']
    for elsewhere in (folder, folder.parent, folder.parent / 'other', None):
        assert names(inputs.find_inputs([str(folder)], leave_out=elsewhere)) == everything
    assert names(inputs.find_inputs([f'{folder}/out'], leave_out=folder / 'out')) == ['a.jpg']
    assert names(inputs.find_inputs([f'{folder}/*.png'], leave_out=folder)) == ['b.png']
    assert names(inputs.find_inputs([f'{folder}/out/*'], leave_out=folder / 'out')) == ['a.jpg']
    found = inputs.find_inputs([f'{folder}/**/*.jp*g'], leave_out=folder / 'out')
    assert names(found) == ['c.jpeg']
    os.symlink(folder / 'out', folder / 'link')
    found = inputs.find_inputs([str(folder)], leave_out=folder / 'link')
    assert 'out/a.jpg' not in names(found)


@contextmanager
def closed(path):
    """Remove all access to ``path``, also that of the superuser."""
    path.chmod(0)
    if os.getuid() == 0:
        path.parent.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        path.chmod(0o755)


def test_folders_without_access_are_reported(folder, monkeypatch):
    monkeypatch.chdir(folder)  # its parents are accessible to pytest's user only
    problems = []
    with closed(folder / 'sub'):
        found = inputs.find_inputs(['.'], None, problems.append)
        assert names(found) == ['a.JPG', 'b.png', 'out/a.jpg']
        assert problems == ['sub: cannot be searched (Permission denied)']
        for pattern, message in (
            ('.', 'sub: cannot be searched'),
            ('sub', 'sub: cannot be searched'),
            ('sub/c.jpeg', 'sub/c.jpeg: cannot be read .Permission denied'),
            ('sub/*.jpeg', 'Permission denied'),
            ('s*/*.jpeg', 'no file matches'),
        ):
            with pytest.raises(UserError, match=message):
                inputs.find_inputs([pattern])


def test_broken_links_and_pipes_are_reported(folder):
    os.symlink('nothing', folder / 'lost.png')
    os.symlink('loop.png', folder / 'loop.png')
    os.mkfifo(folder / 'pipe.png')
    for pattern in (folder, folder / '**' / '*.[pJ]*'):
        problems = []
        found = inputs.find_inputs([str(pattern)], None, problems.append)
        assert names(found)[:2] == ['a.JPG', 'b.png']
        assert sorted(line.split(':')[0] for line in problems) == [
            str(folder / name) for name in ('loop.png', 'lost.png', 'pipe.png')
        ]


def test_brackets_of_a_name_are_explained_where_a_pattern_matches_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a[1]/x.png', 'b[2]c.png', 'd/[e]/f.png', "it's[3]/y.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert [i.path for i in inputs.find_inputs(['a[1]'])] == [Path('a[1]/x.png')]
    for pattern, escaped, first in (
        ('a[1]/*.png', 'a[[]1]/*.png', '[1]'),
        ('b[2]*.png', 'b[[]2]*.png', '[2]'),
        ('*[2]c.png', '*[[]2]c.png', '[2]'),
        ('d/[e]/*', 'd/[[]e]/*', '[e]'),
        ("it's[3]/*", "it's[[]3]/*", '[3]'),
    ):
        with pytest.raises(UserError) as caught:
            inputs.find_inputs([pattern])
        assert str(caught.value) == (
            f'{pattern}: no file matches; {first} stands for one of the characters in it: for the '
            f'name with brackets write {shlex.quote(escaped)}'
        )
        assert len(inputs.find_inputs([escaped])) == 1
    with pytest.raises(UserError, match=r"no file matches, nor 'a\[\[\]1\]/\*.jpg', where"):
        inputs.find_inputs(['a[1]/*.jpg'])
    for pattern in ('z[1]/*.png', 'b[3]*.png', '*.jpg'):
        with pytest.raises(UserError, match='no file matches$'):
            inputs.find_inputs([pattern])


@pytest.mark.parametrize('pattern', ['', ' '])
def test_an_empty_name_is_refused(folder, monkeypatch, pattern):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match='an empty name'):
        inputs.find_inputs(['b.png', pattern])
    assert names(inputs.find_inputs(['.'])) == names(inputs.find_inputs([str(folder)]))


@pytest.mark.parametrize('name', ['x' * 300, 'x' * 300 + '*', 'nul\0.png', '~nobody-here/a.png'])
def test_impossible_names_are_the_users_mistake(name):
    with pytest.raises(UserError):
        inputs.find_inputs([name])


def test_missing_inputs_are_the_users_mistake(folder):
    for pattern, message in (
        ('none.png', 'no such file or folder'),
        ('*.gif', 'no file matches'),
        ('empty', 'no image or video in this folder'),
    ):
        (folder / 'empty').mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            inputs.find_inputs([f'{folder}/{pattern}'])
