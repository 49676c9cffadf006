"""Scenes of two pictures, and the results of several tasks, against plain computations."""

import cv2
import nnabla as nn
import numpy as np
import pytest

import models
from common.errors import InputError, UserError
from datasets import optical_flow
from datasets.loading import resample
from engine import DepthMap, Segmenter
from engine.config import loading
from engine.inference.scene import Scene
from engine.inference.scores import softmax
from engine.inference.test_time import Protocol
from support import task_networks

SIZE = 80, 96  # of the padded image: multiples of 16


@pytest.fixture(scope='module')
def config(tmp_path_factory, shared):
    return task_networks.write_config(tmp_path_factory.mktemp('scenes'), shared)


@pytest.fixture(scope='module')
def segmenter(config):
    return Segmenter(config, context='cpu', backend='nnabla')


@pytest.fixture
def scene():
    flow, image = task_networks.pictures()
    return Scene((flow, image), (True, False))


@pytest.fixture
def padded():
    """Flow, at half the size, and the camera image of a scene that needs no padding."""
    return task_networks.pictures(*SIZE)


def plain_maps(config, x):
    """Return the network's outputs for a normalised input (6, H, W), resized to its size."""
    loaded = loading.load(config)
    nn.clear_parameters()
    network = models.create(loaded)
    variable = nn.Variable.from_numpy_array(x[None])
    outputs = network(variable)
    models.weights.load(config.parent / 'weights.h5')
    nn.forward_all(outputs)
    size = x.shape[1:]
    return [np.stack([cv2.resize(each, size[::-1]) for each in output.d[0]]) for output in outputs]


def plain_input(flow, image):
    """Return the input (6, H, W) of RGB values: the flow resized with its vectors."""
    scaled = resample.resize_flow(flow, image.shape[:2])[..., ::-1]
    values = np.concatenate([scaled, image[..., ::-1].astype(np.float32)], axis=2)
    return np.ascontiguousarray(((values - 128) / 64).transpose(2, 0, 1))


def test_all_tasks_are_those_of_a_plain_computation(config, segmenter, padded):
    flow, image = padded
    result = segmenter((flow, image))
    depth, classes, motion = plain_maps(config, plain_input(flow, image))
    assert list(result.tasks) == ['depth', 'segmentation', 'motion']
    np.testing.assert_allclose(result.tasks['depth'].depth, depth[0], atol=1e-4 * depth.max())
    assert result is result.tasks['segmentation']
    assert np.mean(result.labels == classes.argmax(0)) > 0.999
    assert np.mean(result.tasks['motion'].labels == motion.argmax(0)) > 0.999
    expected = softmax(motion).max(0)
    np.testing.assert_allclose(result.tasks['motion'].confidence, expected, atol=1e-4)
    assert result.tasks['motion'].classes == ('static', 'moving')


def test_the_mirrored_view_has_flow_that_points_the_other_way(config, segmenter, padded):
    flow, image = padded
    found = segmenter((flow, image), Protocol(flip=True)).tasks['depth'].depth
    u = plain_input(flow, image)
    mirrored = u[..., ::-1].copy()
    mirrored[0] *= -1  # the mean is the value of a vector that is 0
    seen = plain_maps(config, u)[0][0], plain_maps(config, mirrored)[0][0][:, ::-1]
    np.testing.assert_allclose(found, np.mean(seen, axis=0), atol=1e-4 * found.max())


def test_windows_average_every_task(segmenter, scene):
    protocol = Protocol(window=(48, 64), flip=True)
    result = segmenter.segment_scene(scene, protocol)
    whole = segmenter.segment_scene(scene)
    assert result.tasks['depth'].depth.shape == scene.size
    # Windows see less around them, so results are alike, not equal.
    assert np.mean(result.labels == whole.labels) > 0.5
    sums = result.tasks['segmentation'].probabilities.sum(axis=0)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def test_resized_flow_has_resized_vectors(scene):
    info = models.create(
        task_networks.KEYS['network'], inputs=2, tasks=['depth'], num_classes=1
    ).info
    flow = np.full((20, 30, 3), optical_flow.ZERO, np.uint8)
    flow[..., optical_flow.U] += 10  # to the right
    flow[..., optical_flow.V] += 4  # downwards
    image = np.zeros((40, 90, 3), np.uint8)
    x = Scene((flow, image), (True, False)).normalised((40, 90), info)
    np.testing.assert_allclose(x[0], 30 / 64, rtol=1e-5)  # three times as wide
    np.testing.assert_allclose(x[1], 8 / 64, rtol=1e-5)  # twice as high
    assert not x[2].any()  # the confidence stays


def test_depth_is_painted_with_a_bar_of_metres():
    depth = np.linspace(2, 60, 48 * 64).reshape(48, 64).astype(np.float32)
    image = np.zeros((48, 64, 3), np.uint8)
    result = DepthMap(image, depth)
    near, far = result.overlay(1.0)[[0, -1], [0, -1]].astype(int)
    assert near[2] > near[0] and far[0] > far[2]  # red and blue
    assert result.overlay(legend=True).shape[1] > 64
    assert '2' in repr(result) and 'm>' in repr(result)
    with pytest.raises(UserError, match='opacity'):
        result.overlay(0)


def test_depth_that_is_not_finite_is_no_obstacle():
    """As half precision gives it, or weights with NaN."""
    depth = np.full((8, 8), 5, np.float32)
    depth[0], depth[1], depth[2] = np.inf, np.nan, 0
    result = DepthMap(np.zeros((8, 8, 3), np.uint8), depth)
    assert result.limits == DepthMap(result.image, depth[3:]).limits
    picture = result.overlay(1.0)
    assert picture[0].any() and not picture[1:3].any()  # far, and unknown
    assert result.range[0] == 5
    assert DepthMap(result.image, depth[1:3]).range == (0, 0, 0)


@pytest.mark.parametrize('number', [1, 3])
def test_another_number_of_pictures_is_refused(segmenter, scene, number):
    given = scene.image if number == 1 else (*scene.pictures, scene.image)
    with pytest.raises(InputError, match=rf'takes 2 pictures of a scene, not {number}'):
        segmenter(given)


def test_a_list_has_several_scenes(segmenter, scene):
    results = segmenter([scene.pictures, scene.pictures])
    assert len(results) == 2
    assert np.array_equal(results[0].labels, results[1].labels)
