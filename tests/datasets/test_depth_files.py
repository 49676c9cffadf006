"""Depth maps: what is written is read back, and other files are refused by name."""

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from datasets import depth_files, pixel_limit


def test_depth_is_read_back_within_half_a_step(tmp_path):
    depth = np.random.RandomState(0).uniform(0.01, 300, (31, 43)).astype(np.float32)
    depth[:3], depth[3, 0], depth[3, 1] = 0, 0.001, 255.9
    depth_files.write(tmp_path / 'a.png', depth)
    found = depth_files.read(tmp_path / 'a.png')
    inside = (depth > 0.002) & (depth < 255.99)
    assert abs(found - depth)[inside].max() <= 0.5 / 256
    assert not found[:3].any(), 'unknown stays unknown'
    assert found[3, 0] == np.float32(1 / 256), 'what is known stays known'
    assert (found[depth > 256] == np.float32(65535 / 256)).all()
    stored = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16 and stored.ndim == 2


def test_values_equal_those_of_two_libraries(tmp_path):
    values = np.random.RandomState(1).randint(0, 65536, (20, 30)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), values)
    Image.fromarray(values).save(tmp_path / 'b.png')
    for name in 'ab':
        assert np.array_equal(depth_files.read_values(tmp_path / f'{name}.png'), values)
        read = depth_files.read(tmp_path / f'{name}.png', scale=1000)
        assert np.array_equal(read, (values / 1000).astype(np.float32))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / 'a.png'
    for array, problem in (
        (np.zeros((4, 4), np.uint8), '8-bit grey, but a depth map must be a 16-bit grey PNG'),
        (np.zeros((4, 4, 3), np.uint8), '8-bit colour, but .* pictures of depth cannot be read ba'),
        (np.zeros((4, 4, 3), np.uint16), '16-bit colour'),
    ):
        cv2.imwrite(str(path), array)
        with pytest.raises(InputError, match=f'a.png: {problem}'):
            depth_files.read(path)
    path.write_bytes(cv2.imencode('.jpg', np.zeros((4, 4), np.uint8))[1].tobytes())
    with pytest.raises(InputError, match='a.png: JPEG, but a depth map must be a 16-bit grey PNG'):
        depth_files.read(path)
    path.write_text('depth')
    with pytest.raises(InputError, match='a.png: not an image, but a depth map must be'):
        depth_files.read(path)
    with pytest.raises(InputError, match='nothing.png: cannot be read'):
        depth_files.read(tmp_path / 'nothing.png')


def test_a_damaged_or_too_large_file_is_refused(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.random.RandomState(0).randint(0, 65536, (50, 50)).astype(np.uint16))
    with pixel_limit.labels_up_to(2499), pytest.raises(InputError, match='50x50 pixels, but at mo'):
        depth_files.read(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(InputError, match='a.png: damaged or truncated'):
        depth_files.read(path)
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    with pytest.raises(InputError, match='a.png: damaged or truncated'):
        depth_files.read(path)


def test_what_networks_can_predict_is_written_without_a_warning(tmp_path, recwarn):
    depth = np.array([[np.nan, -3, np.inf, 2]], np.float32)
    depth_files.write(tmp_path / 'depth.png', depth)
    assert depth_files.read(tmp_path / 'depth.png').tolist() == [[0, 0, 65535 / 256, 2]]
    assert not recwarn.list
