"""Which files a user means."""

import pytest

from command import UserError
from engine import inputs


def names(found):
    return [str(item.relative) for item in found]


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.JPG', 'sub/c.jpeg', 'sub/d.mp4', 'notes.txt', 'out/a.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_means_all_images_and_videos_below(folder):
    found = inputs.find_inputs([str(folder)], leave_out=folder / 'out')
    assert names(found) == ['a.JPG', 'b.png', 'sub/c.jpeg', 'sub/d.mp4']
    assert [item.is_video for item in found] == [False, False, False, True]


def test_patterns_files_and_repetitions(folder):
    found = inputs.find_inputs([f'{folder}/*.png', f'{folder}/**/*.jp*g', f'{folder}/b.png'])
    assert names(found) == ['b.png', 'out/a.jpg', 'sub/c.jpeg']
    (folder / '[1].png').touch()
    assert names(inputs.find_inputs([f'{folder}/[1].png'])) == ['[1].png']


def test_inputs_that_are_not_there(folder):
    for pattern, message in (
        ('none.png', 'no such file or folder'),
        ('*.gif', 'no file matches'),
        ('empty', 'no image or video in this folder'),
    ):
        (folder / 'empty').mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            inputs.find_inputs([f'{folder}/{pattern}'])
