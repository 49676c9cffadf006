"""The page in a real browser: scenes of two pictures, several tasks, and depth."""

import json
import re

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from datasets import depth_files
from engine import Segmenter
from support import browsers, served, served_tasks
from support.page_visits import (
    LOADING_FAILED,
    canvas_pixels,
    read_out,
    saved,
    visits,
    wait_for,
)

FLOW, IMAGE = served_tasks.scene()
PNG = served_tasks.png(IMAGE)
HEIGHT, WIDTH = IMAGE.shape[:2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the models, and the pictures of a scene."""
    folder = tmp_path_factory.mktemp('models')
    served_tasks.write_configs(folder)
    (folder / 'a.png').write_bytes(PNG)
    (folder / 'flow.png').write_bytes(served_tasks.png(FLOW))
    return folder


@pytest.fixture(scope='module')
def scene_server(folder):
    with served.serving(served_tasks.settings_of(folder), folder) as running:
        yield running


@pytest.fixture
def visit_scenes(browser, scene_server):
    with visits(browser, scene_server) as open_page:
        yield open_page


@pytest.fixture(scope='module')
def expected(folder):
    return Segmenter(folder / 'scenes.yaml', context='cpu')((FLOW, IMAGE))


def segmented_scene(page, folder):
    """Choose the pictures of a scene and wait for its classes."""
    page.set_input_files('#first-files', folder / 'flow.png')
    page.set_input_files('#files', folder / 'a.png')
    wait_for(page, 'done')
    page.wait_for_selector('#legend .class')


def test_every_task_of_a_scene_is_shown_and_saved(visit_scenes, folder, expected, tmp_path):
    page, watch = visit_scenes()
    segmented_scene(page, folder)
    assert page.locator('#tasks label').all_inner_texts() == ['depth', 'segmentation', 'motion']
    assert page.locator('#legend .class .name').all_inner_texts() == list(expected.shares)
    page.get_by_label('Confidence', exact=True).check()
    page.get_by_label('motion', exact=True).check()
    motion = expected.tasks['motion']
    names = page.locator('#legend .class .name')
    expect(names).to_have_text(list(motion.shares))
    labels = cv2.imread(str(saved(page, 'Labels', tmp_path)), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, motion.labels)
    assert (tmp_path / 'a_motion_labels.png').exists()

    page.get_by_label('depth', exact=True).check()
    page.wait_for_selector('#depth-card:visible')
    assert page.locator('#classes-card').is_hidden()
    assert page.locator('#save-labels').is_hidden()
    own = expected.tasks['depth']
    painted = canvas_pixels(page)[..., :3].astype(int)
    coloured = own.overlay(1.0)[..., ::-1]
    assert np.abs(painted - coloured).max() <= 8  # a step of the colours: files have 4 mm
    for x, y in ((3, 5), (70, 40)):
        browsers.point(page, '#segmented-stage', x, y, (HEIGHT, WIDTH))
        metres = np.rint(own.depth[y, x] * 256) / 256
        assert read_out(page) == [f'{metres:.1f} m', '', f'x {x}, y {y}']
    metres = depth_files.read(saved(page, 'Depth PNG', tmp_path))
    assert np.abs(metres - own.depth).max() <= 0.5 / 256 + 1e-6
    colours = cv2.imread(str(saved(page, 'Colours', tmp_path)))
    np.testing.assert_array_equal(colours, own.picture())
    facts = json.loads(saved(page, 'JSON', tmp_path).read_text())
    assert list(facts['tasks']) == ['depth', 'segmentation', 'motion']
    assert facts['tasks']['motion']['classes'][0]['pixels'] > 0
    assert facts['tasks']['depth'].keys() == {'kind', 'median', 'low', 'high', 'colours'}
    assert len(watch.segmentations()) == 1  # all tasks came with one answer


def test_depth_is_read_by_keyboard(visit_scenes, folder, expected):
    page, _ = visit_scenes()
    segmented_scene(page, folder)
    page.locator('#tasks input[value=segmentation]').focus()
    page.keyboard.press('ArrowLeft')  # radio buttons: the task before
    page.wait_for_selector('#depth-card:visible')
    expect(page.locator('#depth-scale')).to_have_attribute('aria-label', re.compile('Colours of'))
    page.locator('#segmented-stage').focus()
    page.keyboard.press('Shift+ArrowRight')
    x, y = WIDTH // 2 + 1, HEIGHT // 2
    metres = np.rint(expected.tasks['depth'].depth[y, x] * 256) / 256
    assert read_out(page)[0] == f'{metres:.1f} m'
    expect(page.locator('#pixel-announcement')).to_contain_text(f'{metres:.1f} m')


def test_the_first_picture_is_asked_for(visit_scenes, scene_server, folder, tmp_path):
    """In the words of the model; a model of one picture does not ask."""
    page, watch = visit_scenes(expected_errors=LOADING_FAILED)
    page.set_input_files('#files', folder / 'a.png')
    wait_for(page, 'failed')
    expect(page.locator('#error-text')).to_have_text(
        'a.png: scenes also needs the optical flow picture of this scene: choose it'
    )
    assert watch.segmentations() == []
    browsers.answer_file_dialogs(page, folder / 'flow.png')
    page.get_by_role('button', name='Choose the optical flow picture').click()
    wait_for(page, 'done')
    expect(page.locator('#first-name')).to_have_text('flow.png for a.png')

    other = tmp_path / 'other.png'
    other.write_bytes(served_tasks.png(FLOW[:, :30]))
    page.set_input_files('#first-files', other)
    wait_for(page, 'failed')
    refused = scene_server.upload(
        ('first_input', 'other.png', other.read_bytes()),
        ('image', 'a.png', served_tasks.png(IMAGE)),
    )
    expect(page.locator('#error-text')).to_have_text(refused.error)

    model = page.get_by_label('Model', exact=True)
    model.select_option('frames')
    expect(page.locator('#choose-first')).to_have_text('Choose the first picture')
    model.select_option('depth')
    wait_for(page, 'done')
    expect(page.locator('#facts')).to_contain_text('median depth')
    assert page.locator('#first-intake').is_hidden()
    assert page.locator('#tasks').is_hidden()


def test_scenes_fit_on_a_phone(visit_scenes, folder):
    page, _ = visit_scenes(viewport={'width': 360, 'height': 740}, has_touch=True, is_mobile=True)
    segmented_scene(page, folder)
    page.locator('#tasks label', has_text='depth').tap()
    page.wait_for_selector('#depth-card:visible')
    assert page.evaluate('document.documentElement.scrollWidth') == 360
    page.locator('#segmented-stage').tap()
    assert read_out(page)[0].endswith(' m')
