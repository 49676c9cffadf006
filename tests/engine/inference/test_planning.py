"""Planning the outputs creates nothing and reports folders that cannot be used."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import UserError
from common.inputs import Input
from common.tasks import CLASSES, DEPTH, Task
from datasets import image_files
from datasets.keys import DEFAULT_READING
from engine.inference import LooksSettings, planning
from engine.inference.first_pictures import FirstPictures
from support import stand_ins


def test_planning_creates_no_file_or_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image_files.write_image(Path('a.png'), stand_ins.image(9, 9))
    for patterns, output in ((['a.png'], 'x/y/z.png'), (['a.png'], 'x/'), (['.'], 'x/y')):
        plan = planning.plan_outputs(patterns, output, LooksSettings())
        assert len(plan.pairs) == 1
        assert [path.name for path in tmp_path.iterdir()] == ['a.png']
    with pytest.raises(UserError, match='a.png/x.png: cannot be written .a.png is not a folder'):
        planning.plan_outputs(['a.png'], 'a.png/x.png', LooksSettings())


@contextmanager
def without_rights():
    """Give up the rights of the superuser, if the tests run as such; the folder stays passable."""
    superuser = os.getuid() == 0
    if superuser:
        Path().absolute().chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)


def test_folders_without_permission_are_refused(small_photo):
    Path('closed').mkdir(mode=0)
    looks = LooksSettings()
    with without_rights():
        for name in ('closed/a.png', 'closed/*.png'):
            with pytest.raises(UserError, match='cannot be read .Permission denied'):
                planning.plan_outputs([name], None, looks)
        for output in ('closed/a.png', 'closed/sub/a.png'):
            with pytest.raises(UserError, match='cannot be written .Permission denied'):
                planning.plan_outputs(['small.png'], output, looks)
    Path('closed').chmod(0o555)
    with without_rights(), pytest.raises(UserError, match='closed/new/a.png: cannot be written'):
        planning.plan_outputs(['small.png'], 'closed/new/a.png', looks)


@pytest.mark.parametrize('option', ['save_color', 'save_confidence', 'save_probabilities'])
def test_maps_of_classes_need_a_task_with_classes(option, tmp_path):
    image_files.write_image(tmp_path / 'a.png', stand_ins.image(9, 9))
    looks, depth = LooksSettings(**{option: True}), Task('depth', DEPTH, 1)
    given = [str(tmp_path / 'a.png')], str(tmp_path / 'b.png'), looks
    with pytest.raises(UserError, match=f'--{option.replace("_", "-")}: no task has classes'):
        planning.plan_outputs(*given, tasks=[depth])
    planning.plan_outputs(*given, tasks=[depth, Task('motion', CLASSES, 2)])


def test_first_pictures_without_an_image_are_refused(tmp_path):
    video = Input(tmp_path / 'a.mp4', Path('a.mp4'))
    FirstPictures(None, True, DEFAULT_READING).check([video])
    with pytest.raises(UserError, match='--first-input: the first pictures of a video come from'):
        FirstPictures(tmp_path, True, DEFAULT_READING).check([video])
