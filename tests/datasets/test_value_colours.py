"""Colours of depth and flow: order, limits, and the picture of a scene on a contact sheet."""

import colorsys

import cv2
import numpy as np
import pytest

import datasets
from datasets import show, value_colours
from datasets.samples import SceneFiles
from support import programs, scene_data
from support.street_scenes import write_kitti


def test_near_is_red_far_is_blue_and_unknown_black():
    depth = np.geomspace(2, 80, 64).astype(np.float32)[None]
    depth[0, 5] = 0
    colours = value_colours.paint_depth(depth, (2.0, 80.0))
    red, blue = colours[0, :, 2].astype(int), colours[0, :, 0].astype(int)
    assert red[0] > 100 > blue[0] and blue[-1] > red[-1]
    assert colours[0, 5].tolist() == [0, 0, 0]
    beyond = np.array([[0.5, 500]], np.float32)
    assert np.array_equal(value_colours.paint_depth(beyond, (2.0, 80.0))[0], colours[0, [0, -1]])


def test_limits_hold_nearly_all_depths_and_are_never_equal():
    depth = np.random.RandomState(0).uniform(3, 60, (100, 100)).astype(np.float32)
    depth[0, 0], depth[1] = 5000, 0
    low, high = value_colours.depth_limits(depth, depth + 0)
    known = depth[depth > 0]
    assert 3 <= low < 4 and 59 < high < 61 and ((known >= low) & (known <= high)).mean() > 0.98
    assert value_colours.depth_limits(np.zeros((3, 3), np.float32)) == value_colours.DEFAULT_LIMITS
    low, high = value_colours.depth_limits(np.full((3, 3), 7, np.float32))
    assert low < high


@pytest.mark.parametrize('limits', [(1.0, 100.0), (0.0, 0.0), (4.0, 5.0), (0.01, 60000.0)])
def test_a_bar_of_depth_has_the_colours_of_its_rows(limits):
    bar = value_colours.depth_bar(120, 80, limits)
    assert bar.shape == (120, 80, 3) and bar.dtype == np.uint8
    low, high = value_colours.usable_limits(limits)
    column = np.geomspace(high, low, 120).astype(np.float32)[:, None]
    expected = value_colours.paint_depth(column, limits)
    assert np.abs(bar[:, :1].astype(int) - expected).max() <= 12
    assert bar[:, 40:].min() < 128 < bar[:, 40:].mean(), 'numbers stand beside it'


@pytest.mark.parametrize('u, v, degrees', [(9, 0, 0), (0, 9, 90), (-9, 0, 180), (0, -9, 270)])
def test_the_hue_of_flow_is_its_direction(u, v, degrees):
    picture = np.full((4, 4, 3), (255, 128 + v, 128 + u), np.uint8)
    blue, green, red = value_colours.paint_flow(picture)[0, 0] / 255
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    assert abs((hue * 360 - degrees + 180) % 360 - 180) < 3 and saturation > 0.9 and value > 0.9
    still = value_colours.paint_flow(np.full((4, 4, 3), (255, 128, 128), np.uint8))
    assert (still >= 253).all()


def test_a_sheet_shows_all_pictures_and_targets(tmp_path):
    scene_data.write_folder(tmp_path)
    dataset = datasets.open('folder', tmp_path, 'train', wanted=scene_data.ALL)
    sheet = show.contact_sheet(dataset, 2)
    width = show.MAX_PICTURE_WIDTH
    assert sheet.shape[1] == 5 * (width + show.GAP) + show.GAP
    lines = 4 * show.CAPTION_HEIGHT // 2
    assert sheet.shape[0] == 2 * (width * 24 // 40 + show.GAP + lines)
    scene = dataset.scene(0)
    size = (width, width * 24 // 40)
    flow, image = sheet[show.GAP :, show.GAP :], sheet[show.GAP :, width + 2 * show.GAP :]
    shown = cv2.resize(value_colours.paint_flow(scene.pictures[0]), size, interpolation=3)
    assert np.array_equal(flow[: size[1], :width], shown)
    shown = cv2.resize(scene.pictures[1], size, interpolation=cv2.INTER_AREA)
    assert np.array_equal(image[: size[1], :width], shown)


def test_the_command_shows_tasks(tmp_path):
    data = tmp_path / 'data'
    scene_data.write_folder(data)
    write_kitti(tmp_path / 'kitti', [('train', '2011_09_26_drive_0001_sync')])
    for words in (
        ('folder', '-d', data, '--inputs', '2', '--tasks', 'motion', 'depth'),
        ('folder', '-d', data, '--inputs', '2'),
        ('kitti_depth', '-d', tmp_path / 'kitti', '-n', '3'),
    ):
        run = programs.run('-m', 'datasets.show', *words, '-o', tmp_path / 'sheet.png')
        assert run.returncode == 0, run.stderr
        assert cv2.imread(str(tmp_path / 'sheet.png')) is not None
        (tmp_path / 'sheet.png').unlink()
    words = 'folder', '-d', data, '--tasks', 'depth', '-o', data / 'depth/a.png'
    run = programs.run('-m', 'datasets.show', *words)
    assert run.returncode == 2 and 'depth/a.png' in run.stderr


def test_a_scene_without_targets_shows_its_pictures(tmp_path):
    scene_data.write_folder(tmp_path, ['train/a', 'test/b'])
    for folder in ('depth', 'labels'):
        (tmp_path / folder / 'test/b.png').unlink()
    wanted = SceneFiles(2, ('depth', 'segmentation'))
    dataset = datasets.open('folder', tmp_path, 'test', wanted=wanted)
    sheet = show.contact_sheet(dataset, 1)
    last = sheet[show.GAP : -show.CAPTION_HEIGHT, 3 * show.MAX_PICTURE_WIDTH + 4 * show.GAP :]
    assert (last == 255).all()
