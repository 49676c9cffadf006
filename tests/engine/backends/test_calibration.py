"""Calibration images come from a pattern or from the training split of a data set."""

import pytest

from common.errors import UserError
from engine import config as configs
from engine.backends import calibration
from support import programs


def test_calibration_images_come_from_a_pattern_or_data_set(tiny, photos, working_folder, shared):
    with pytest.raises(UserError, match='--calibration .*: no file matches'):
        calibration.find_images(tiny.network, {}, str(photos / '*.gif'))
    camvid = shared / 'data' / 'camvid'
    yaml = programs.PROJECT / 'configs' / 'D3Net_T_camvid.yaml'
    with pytest.raises(UserError, match='or pass images with --calibration'):
        calibration.find_images(tiny.network, configs.load(yaml, []))
    found = calibration.find_images(tiny.network, configs.load(yaml, [f'data_dir={camvid}']))
    training = [*(camvid / 'train').iterdir(), *(camvid / 'val').iterdir()]  # its training split
    assert sorted(found.paths) == sorted(training)
    many = calibration.Calibration(tiny.network, list(range(200)))
    assert (len(set(many.paths)), many.paths[0], many.paths[-1]) == (64, 0, 196)
