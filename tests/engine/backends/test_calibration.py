"""Calibration images: where they come from, and the inputs that they become."""

import numpy as np
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


@pytest.mark.parametrize('size, expected', [((4, 16), 'interpolated'), ((4, 4), 'averaged')])
def test_images_are_resized_as_for_inference(tiny, size, expected):
    """A ramp of 8 columns stays a ramp: enlarged without blocks, averaged where it shrinks."""
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None] * 16, (4, 8, 3)).copy()
    x = calibration.as_input(ramp, tiny.network, (2, 3, *size))
    assert x.shape == (2, 3, *size)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (tiny.network.info.mean, tiny.network.info.std))
    steps = np.diff((x * std + mean)[..., 1:-1], axis=-1)
    np.testing.assert_allclose(steps, {'interpolated': 8, 'averaged': 32}[expected], atol=1e-3)
