"""The picture of a run's curves: formats, unusual values, the running mean."""

from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from common.errors import UserError
from engine.report import curves


def test_an_unknown_picture_format_is_refused(tmp_path):
    with pytest.raises(UserError, match='a.what: unknown picture format; use .png'):
        curves.draw_curves(tmp_path / 'a.what', '', [], [], [])


def test_a_link_leads_to_a_file_of_any_ending(tmp_path):
    (tmp_path / 'a.png').symlink_to('target')
    curves.draw_curves(tmp_path / 'a.png', '', [], [], [])
    assert (tmp_path / 'target').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'losses',
    [
        [],
        [(10, 1.0)],
        [(i, float('nan')) for i in range(100)],
        [(i, 0.0) for i in range(100)],
        [(i, 10.0**i if i % 7 else float('inf')) for i in range(100)],
    ],
)
def test_short_constant_and_infinite_curves_are_drawn(losses, tmp_path):
    curves.draw_curves(tmp_path / 'a.png', 'title', losses, losses[:1], losses[:2])
    assert cv2.imread(str(tmp_path / 'a.png')) is not None


def test_the_running_mean_ignores_nan_and_preserves_a_straight_line():
    rng = np.random.RandomState(0)
    values = rng.rand(50)
    values[[3, 4, 5, 20]] = np.nan
    expected = []
    for i in range(50):
        reach = min(i, 49 - i, 1)
        near = values[i - reach : i + reach + 1]
        expected.append(np.nan if np.isnan(near).all() else np.nanmean(near))
    np.testing.assert_allclose(curves._running_mean(values, 1), expected, rtol=1e-12)
    straight = np.arange(30.0)
    np.testing.assert_allclose(curves._running_mean(straight, 6), straight)


def test_the_name_of_a_folder_is_no_formula(tmp_path):
    curves.draw_curves(tmp_path / 'a.svg', 'run $\\frac{ \x1b', [], [], [])
    ElementTree.parse(tmp_path / 'a.svg')  # control characters would be no XML
