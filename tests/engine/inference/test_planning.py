"""Planning the outputs creates nothing."""

from pathlib import Path

import pytest

from common.errors import UserError
from datasets import image_files
from engine.inference import planning
from engine.inference.settings import LooksSettings
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
