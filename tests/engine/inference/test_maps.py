"""Maps of confidence and of probabilities beside pictures: values, names, memory, planning."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from common.errors import UserError
from common.inputs import Input
from common.writing.protected_files import ProtectedFiles
from datasets import image_files
from engine.inference import maps, planning, segmenting, steps
from engine.inference.scores import ImageScores, ViewScores
from engine.inference.settings import LooksSettings
from support import segmentations, stand_ins
from support.infer_runs import started, write_video
from support.tiny_config import tiny_camvid

BOTH = LooksSettings(save_confidence=True, save_probabilities=True)
CLASSES = datasets.info('camvid').classes


@pytest.fixture
def scored():
    """Replace a network: seeded logits at half the size, counted when they are computed again."""

    def segment_image(image):
        height, width = image.shape[:2]
        logits = np.random.RandomState(0).randn(11, height // 2, width // 2).astype(np.float32) * 3
        known = ImageScores([ViewScores(logits, (height, width))], 11, (height, width))
        segment_image.results.append(
            segmentations.of_labels(known.labels(), image, lambda: 1 / 0, known)
        )
        return segment_image.results[-1]

    segment_image.results = []
    return segment_image


def expected_of(result):
    """Return the probabilities as the softmax of logits that OpenCV resizes."""
    (view,) = result._scores.views
    large = [cv2.resize(each, result.labels.shape[::-1]) for each in view.maps]
    powers = np.exp(np.asarray(large, np.float64))
    return powers / powers.sum(axis=0)


def check_maps(picture, expected):
    """Compare the files beside a picture with probabilities, (C, H, W) float64."""
    grey = cv2.imread(str(planning.map_path(picture, '_confidence.png')), cv2.IMREAD_UNCHANGED)
    assert (grey.shape, grey.dtype) == (expected.shape[1:], np.uint8)
    assert abs(grey - 255 * expected.max(axis=0)).max() < 0.51
    with np.load(planning.map_path(picture, '_probabilities.npz')) as file:
        assert sorted(file) == ['classes', 'probabilities']
        assert tuple(file['classes']) == CLASSES
        found = file['probabilities']
    assert (found.shape, found.dtype) == (expected.shape, np.float16)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_an_image_a_folder_and_a_video_have_their_maps(working_folder, scored):
    """The network is not asked again, and results without such maps keep no scores."""
    image = stand_ins.image(40, 56)
    image_files.write_image(Path('in/a.png'), image)
    write_video('in/v.avi', [image] * 2)
    plan = planning.plan_outputs(['in'], 'out', BOTH)
    assert segmenting.segment_plan(scored, plan, BOTH) == 0
    pictures = ('out/a.jpg', 'out/v/00000001.png', 'out/v/00000002.png')
    assert len(scored.results) == 3
    for picture, result in zip(pictures, scored.results):
        check_maps(Path(picture), expected_of(result))
    item = Input(Path('in/a.png'), Path('a.png'))
    bare = segmenting.segment_file(scored, item, Path('b.png'), LooksSettings(save_labels=True))
    assert bare._scores is None


def test_the_maps_of_a_network_with_two_views(small_photo):
    options = ['--save-confidence', '--save-probabilities', '--scales', '1,0.5', '--flip']
    assert started('-i', small_photo, *tiny_camvid(), '-o', 'a.png', *options) == 0
    grey = cv2.imread('a_confidence.png', cv2.IMREAD_UNCHANGED)
    with np.load('a_probabilities.npz') as file:
        found = file['probabilities'].astype(np.float32)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=5e-3)
    assert abs(grey / 255 - found.max(axis=0)).max() < 3e-3


def test_confidence_that_is_not_a_number_is_black(working_folder):
    nothing = ViewScores(np.full((11, 4, 4), np.nan, np.float32), (8, 8))
    known = ImageScores([nothing], 11, (8, 8))
    image = np.zeros((8, 8, 3), np.uint8)
    result = segmentations.of_labels(np.zeros((8, 8), np.uint8), image, None, known)
    maps.save_maps(result, Path('a.png'), LooksSettings(save_confidence=True))
    assert not cv2.imread('a_confidence.png').any()


def test_waiting_results_are_limited_by_the_memory_of_their_scores(working_folder, monkeypatch):
    """Each result waits for its writing before the next image, as its scores exceed the limit."""
    events = []
    logits = np.zeros((11, 4000, 6200), np.float32)  # 1 GiB of zeros that take no memory
    scores = ImageScores([ViewScores(logits, (8, 8))], 11, (8, 8))

    def segment_image(image):
        events.append('segmented')
        return segmentations.of_labels(np.zeros((8, 8), np.uint8), image, None, scores)

    monkeypatch.setattr(steps, 'save_maps', lambda *arguments: events.append('written'))
    for name in 'abc':
        image_files.write_image(Path(f'in/{name}.png'), np.zeros((8, 8, 3), np.uint8))
    plan = planning.plan_outputs(['in'], 'out', BOTH)
    assert segmenting.segment_plan(segment_image, plan, BOTH) == 0
    assert events == ['segmented', 'written'] * 3


def test_maps_overwrite_no_input_and_no_other_result(working_folder):
    image = stand_ins.image(8, 8)
    for name in ('a.png', 'a_confidence.png', 'out/w/00000001_confidence.png'):
        image_files.write_image(Path(name), image)
    write_video('w.avi', [image])
    protected = ProtectedFiles().add('the file of weights', ['x_probabilities.npz'])
    Path('x_probabilities.npz').touch()
    for inputs, output, message in (
        (['a_confidence.png'], 'a.jpg', 'a_confidence.png: is an input'),
        (['w.avi', 'out/w/00000001_confidence.png'], 'out', 'png: would be overwritten by the'),
        (['a.png'], 'x.jpg', 'x_probabilities.npz: is the file of weights'),
    ):
        with pytest.raises(UserError, match=message):
            planning.plan_outputs(inputs, output, BOTH, protected)
