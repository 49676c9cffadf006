"""Resampling of optical flow: TI's values, and vectors that move with their picture."""

import json

import cv2
import numpy as np
import pytest

from common import once
from datasets import optical_flow
from datasets.loading.resample import View, resample_flow, resample_image, resize_flow
from datasets.loading.transforms import normalise
from datasets.optical_flow import U, V

MEAN, STD = (128, 128, 128), (64, 64, 64)  # of TI's networks


@pytest.fixture(scope='module')
def golden(shared):
    values = json.loads((shared / 'reference_tasks/losses_metrics.json').read_text())
    return values['flow_transforms']


@pytest.fixture(scope='module')
def picture():
    """The picture of the golden values, as files are read: blue is the confidence."""
    rgb = np.random.RandomState(41).randint(0, 256, (4, 6, 3)).astype(np.uint8)
    return np.ascontiguousarray(rgb[..., ::-1])


def of_network(flow):
    """Return flow as a network in RGB order receives it, (H, W, 3): u, v, confidence."""
    return normalise(flow, MEAN, STD, 'rgb').transpose(1, 2, 0)


@pytest.mark.parametrize('size, area', [((8, 9), True), ((2, 3), True)])
def test_resized_vectors_equal_those_of_ti(golden, picture, size, area):
    expected = golden[f'resize_to_{size[0]}x{size[1]}']
    found = of_network(resample_flow(picture, View(size, 0, 0, *size, area=area)))
    assert np.allclose(found[0, 0], expected['first_pixel'], atol=1e-6)
    if 'l2' in expected:
        assert np.allclose(np.linalg.norm(found, axis=(0, 1)), expected['l2'], rtol=1e-6)
    if 'without_is_flow' in expected:
        plain = resample_image(picture.astype(np.float32), View(size, 0, 0, *size, area=area))
        assert np.allclose(of_network(plain)[0, 0], expected['without_is_flow'], atol=1e-6)
    assert np.allclose(of_network(resize_flow(picture, size)), found, atol=1e-5)


def test_mirrored_vectors_equal_those_of_ti(golden, picture):
    assert np.allclose(of_network(picture)[0, 0], golden['input_first_pixel'])
    found = of_network(resample_flow(picture, View((4, 6), 0, 0, 4, 6, flip=True)))
    assert np.allclose(found[0, 0], golden['flip']['flow_first_pixel'])


def test_turned_vectors_equal_those_of_ti_but_for_its_mistake(golden, picture):
    """The original computes v from the u that is turned already; both are turned at once here."""
    expected = golden['rotate']
    view = View((4, 6), 0, 0, 4, 6, angle=expected['angle_degrees'])
    u, v, confidence = of_network(resample_flow(picture, view))[2, 3]
    old_u, old_v, old_confidence = expected['image_centre_pixel_2_3']
    assert np.isclose(u, expected['flow_centre_pixel_2_3'][0])
    assert np.isclose(confidence, old_confidence)
    turned = complex(old_u, -old_v) * np.exp(1j * np.radians(expected['angle_degrees']))
    assert np.isclose(u, turned.real) and np.isclose(v, -turned.imag)
    assert not np.isclose(v, expected['flow_centre_pixel_2_3'][1], atol=1e-4)


def test_vectors_still_lead_from_one_frame_to_the_next():
    """Two frames and their flow get one view: the flow then belongs to the viewed frames.

    A smooth pattern moves by a similarity about a point; its exact flow is known.
    """
    height, width = 60, 90
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v = 3 + 0.05 * (x - 40) - 0.02 * (y - 30), -2 + 0.02 * (x - 40) + 0.05 * (y - 30)

    def pattern(x, y):
        waves = [np.sin(x / 7), np.cos(y / 6), np.sin((x + y) / 9)]
        return np.dstack([127 + 100 * wave for wave in waves]).astype(np.uint8)

    current, previous_at_source = pattern(x - u, y - v), pattern(x - u, y - v)
    assert np.array_equal(current, previous_at_source)  # the previous frame is pattern(x, y)
    previous = pattern(x, y)
    flow = np.dstack([np.full(x.shape, 255.0), 128 + v, 128 + u]).astype(np.float32)
    for view in (
        View((60, 90), 0, 0, 60, 90, flip=True),
        View((90, 180), 10, 20, 60, 120),
        View((90, 180), 10, 20, 60, 120, flip=True, angle=20.0),
        View((45, 60), 0, 0, 45, 60, area=True, angle=-10.0),
        View((120, 135), 0, 0, 120, 135, smooth=True),
    ):
        before, now = (resample_image(frame, view).astype(float) for frame in (previous, current))
        vectors = resample_flow(flow, view)
        rows, columns = np.mgrid[: view.height, : view.width].astype(np.float32)
        source = cv2.remap(
            before.astype(np.float32),
            columns - (vectors[..., U] - 128),
            rows - (vectors[..., V] - 128),
            cv2.INTER_LINEAR,
        )
        inner = np.s_[view.height // 3 : -view.height // 3, view.width // 3 : -view.width // 3]
        assert abs(source - now)[inner].mean() < 4, view
        unmoved = abs(before - now)[inner].mean()
        assert unmoved > 8, 'the view shows movement'


def test_a_window_of_flow_equals_that_of_the_whole():
    rng = np.random.RandomState(0)
    for _ in range(10):
        height, width = rng.randint(30, 60, 2)
        picture = rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
        size = tuple(int(n) for n in rng.randint(20, 90, 2))
        top, left = rng.randint(0, size[0] - 10), rng.randint(0, size[1] - 10)
        whole = resize_by_hand(picture, size)[top : top + 10, left : left + 10]
        found = resample_flow(picture, View(size, top, left, 10, 10))
        assert abs(found - whole).max() < 1.5, (picture.shape, size)


def resize_by_hand(picture, size):
    """Return flow resized by OpenCV, with both components scaled."""
    values = cv2.resize(picture.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    height, width = picture.shape[:2]
    values[..., U] = (values[..., U] - 128) * size[1] / width + 128
    values[..., V] = (values[..., V] - 128) * size[0] / height + 128
    return values


def test_what_turning_brings_in_does_not_move():
    picture = np.full((20, 20, 3), 200, np.uint8)
    found = resample_flow(picture, View((20, 20), 0, 0, 20, 20, angle=45.0))
    assert np.allclose(found[0, 0, [U, V]], 128)


def test_vectors_too_long_for_a_file_are_cut_with_a_warning(caplog):
    once.reset()
    values = np.full((2, 2, 3), 128, np.float32)
    values[0, 0, U] = 300
    found = optical_flow.as_picture(values, 'a.png')
    assert found.dtype == np.uint8 and found[0, 0].tolist() == [128, 128, 255]
    assert 'a.png: 25.00% of its vectors are longer than 127 pixels' in caplog.text
