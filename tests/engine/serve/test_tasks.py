"""POST /segment of scenes of two pictures, and of networks with several tasks or depth."""

import base64
import zlib

import cv2
import numpy as np
import pytest

from datasets import depth_files, optical_flow
from datasets.image_files import encode_image
from engine import Segmenter
from support import infer_runs, served, served_tasks

FLOW, IMAGE = served_tasks.scene()
PARTS = ('first_input', 'flow.png', served_tasks.png(FLOW)), (
    'image', 'a.png', served_tasks.png(IMAGE),
)  # fmt: skip
ALONE = PARTS[1:]
LIMITS = dict(max_bytes=60_000, max_pixels=10_000)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    served_tasks.write_configs(folder)
    return folder


@pytest.fixture(scope='module')
def server(folder):
    with served.serving(served_tasks.settings_of(folder, **LIMITS), folder) as running:
        yield running


@pytest.fixture(scope='module')
def expected(folder):
    return Segmenter(folder / 'scenes.yaml', context='cpu')((FLOW, IMAGE))


def picture(answer):
    assert answer.status == 200, answer.body
    assert answer.headers['Content-Type'] == 'image/png'
    return cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_UNCHANGED)


def unpacked(text, kind):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind).reshape(IMAGE.shape[:2])


def test_models_say_what_they_take_and_give(server):
    models = {model['name']: model for model in server.get('/models').json['models']}
    assert {name: model['first_input'] for name, model in models.items()} == {
        'scenes': 'flow', 'frames': 'image', 'pair': 'flow', 'depth': None,
    }  # fmt: skip
    tasks = models['scenes']['tasks']
    assert [(task['name'], task['kind']) for task in tasks] == [
        ('depth', 'depth'), ('segmentation', 'classes'), ('motion', 'classes'),
    ]  # fmt: skip
    names = [[one['name'] for one in task['classes']] for task in tasks]
    assert names == [[], ['road', 'car', 'sky'], ['static', 'moving']]
    assert models['scenes']['classes'] == tasks[1]['classes']
    assert models['depth']['classes'] == []


def test_pictures_of_every_task(server, expected):
    assert len(np.unique(expected.labels)) > 1
    np.testing.assert_array_equal(picture(server.upload(*PARTS)), expected.labels)
    motion = expected.tasks['motion']
    for output, own in (('labels', motion.labels), ('overlay', motion.overlay())):
        answer = server.upload(*PARTS, query=f'?task=motion&output={output}')
        np.testing.assert_array_equal(picture(answer), own)
    confidence = picture(server.upload(*PARTS, query='?task=motion&output=confidence'))
    np.testing.assert_allclose(confidence, 255 * motion.confidence, atol=0.51)


def test_depth_is_what_infer_writes(server, folder, expected, tmp_path):
    for name, picture_of in (('flow', FLOW), ('a', IMAGE)):
        (tmp_path / f'{name}.png').write_bytes(served_tasks.png(picture_of))
    status = infer_runs.started(
        '-cfg', folder / 'scenes.yaml', '-c', 'cpu', '-i', tmp_path / 'a.png', '--save-labels',
        '--first-input', tmp_path / 'flow.png', '-o', tmp_path / 'out.png',
    )  # fmt: skip
    assert status == 0
    path = tmp_path / 'depth.png'
    path.write_bytes(server.upload(*PARTS, query='?task=depth').body)
    assert path.read_bytes() == (tmp_path / 'out_depth_metres.png').read_bytes()
    metres = depth_files.read(path)  # as the data set is read
    assert np.ptp(metres) > 1
    assert np.abs(metres - expected.tasks['depth'].depth).max() <= 0.5 / 256 + 1e-6
    colours = picture(server.upload(*PARTS, query='?task=depth&output=overlay'))
    assert colours.shape[1] > IMAGE.shape[1]  # the bar of metres
    np.testing.assert_array_equal(colours, cv2.imread(str(tmp_path / 'out_depth.png')))


def test_json_has_every_task(server, expected):
    query = '?output=json&include=pixels&include=pictures&include=original'
    answer = server.upload(*PARTS, query=query).json
    assert list(answer['tasks']) == ['depth', 'segmentation', 'motion']
    assert answer['model'] == 'scenes'
    assert not answer.keys() & {'classes', 'confidence', 'pixels', 'pictures'}
    for name in ('segmentation', 'motion'):
        task, own = answer['tasks'][name], expected.tasks[name]
        assert task['kind'] == 'classes'
        assert [found['name'] for found in task['classes']] == list(own.shares)
        np.testing.assert_array_equal(unpacked(task['pixels']['labels'], np.uint8), own.labels)
        labels = server.upload(*PARTS, query=f'?task={name}').body
        assert base64.b64decode(task['pictures']['labels']) == labels
    depth, own = answer['tasks']['depth'], expected.tasks['depth'].depth
    assert depth['kind'] == 'depth'
    found = [depth[key] for key in ('low', 'median', 'high')]
    np.testing.assert_allclose(found, np.percentile(own, (5, 50, 95)), rtol=1e-5)
    values = unpacked(depth['pixels']['depth'], '<u2')
    np.testing.assert_array_equal(values, np.rint(own.astype(float) * 256))
    for kind, query in (('depth', '?task=depth'), ('overlay', '?task=depth&output=overlay')):
        assert base64.b64decode(depth['pictures'][kind]) == server.upload(*PARTS, query=query).body
    colours = depth['colours']
    assert len(depth['pixels']['ramp']) == 256
    assert colours['marks']
    assert all(colours['near'] < mark < colours['far'] for mark in colours['marks'])
    plain = server.upload(*PARTS, query='?output=json').json['tasks']
    assert not any(task.keys() & {'pixels', 'pictures'} for task in plain.values())


def test_depth_alone_of_one_picture(server, folder):
    own = Segmenter(folder / 'depth.yaml', context='cpu')(IMAGE)
    values = picture(server.upload(*ALONE, query='?model=depth'))
    np.testing.assert_array_equal(values, np.rint(own.depth.astype(float) * 256))
    answer = server.upload(*ALONE, query='?model=depth&output=json').json
    assert list(answer['tasks']) == ['depth']


def test_one_task_of_two_pictures_is_answered_as_that_of_one(server, folder):
    own = Segmenter(folder / 'pair.yaml', context='cpu')((FLOW, IMAGE))
    np.testing.assert_array_equal(picture(server.upload(*PARTS, query='?model=pair')), own.labels)
    answer = server.upload(*PARTS, query='?model=pair&output=json').json
    assert [found['name'] for found in answer['classes']] == list(own.shares)
    assert 'tasks' not in answer


def test_a_first_picture_can_be_an_image_of_any_format(server, folder):
    before = np.roll(IMAGE, 2, axis=1)
    own = Segmenter(folder / 'frames.yaml', context='cpu')((before, IMAGE))
    first = 'first_input', 'before.bmp', encode_image('.bmp', before)
    answer = server.upload(first, *ALONE, query='?model=frames&task=motion')
    np.testing.assert_array_equal(picture(answer), own.tasks['motion'].labels)


@pytest.mark.parametrize(
    ('query', 'line'),
    [
        ('?task=lanes', "task: scenes has no 'lanes'; it has depth, segmentation, motion"),
        ('?task=depth&output=palette', 'output: depth is depth, which has no palette; ask for'),
        ('?task=motion&task=depth', 'task: given twice; give it once'),
        ('?task=depth&output=json', 'task: output=json has all tasks; leave task out'),
    ],
)
def test_wrong_tasks(server, query, line):
    answer = server.upload(*PARTS, query=query)
    assert answer.status == 422
    assert answer.error.startswith(line)


FIRST = PARTS[0][2]
OTHER_SHAPE = served_tasks.png(FLOW[:, :30])
GREY = encode_image('.png', FLOW[..., 0])
LARGE = served_tasks.png(np.full((110, 110, 3), optical_flow.ZERO, np.uint8))


@pytest.mark.parametrize(
    ('first', 'status', 'words'),
    [
        (None, 422, 'field first_input: missing; scenes takes two pictures of a scene, send a'),
        (('first_input', None, b'text'), 422, 'field first_input: is a text'),
        (('flow', 'a.png', FIRST), 422, "field 'flow': unknown; the body has the files first_inp"),
        (('first_input', 'a.png', FIRST[:-200]), 415, 'a.png: damaged or truncated'),
        (('first_input', 'a.txt', b'no picture'), 415, 'a.txt: no PNG, but optical flow is an'),
        (('first_input', 'a.png', GREY), 415, 'a.png: 8-bit, of the PNG colour type 0, but optic'),
        (('first_input', 'a.png', OTHER_SHAPE), 422, 'a.png: the first picture of the scene has 3'),
        (('first_input', 'a.png', LARGE), 413, 'a.png: more than 10000 pixels; make it smaller'),
        (('first_input', 'a.png', bytes(60_001)), 413, 'field first_input: the upload is longer'),
        (('first_input', 'a.png', bytes(300_000)), 413, 'the upload is longer than 60000 bytes'),
    ],
)
def test_wrong_first_pictures(server, first, status, words):
    answer = server.upload(*[first] * (first is not None), *ALONE)
    assert answer.status == status, answer.error
    assert answer.error.startswith(words)


def test_a_first_picture_is_refused_by_a_network_of_one(server):
    answer = server.upload(*PARTS, query='?model=depth')
    assert answer.status == 422
    assert answer.error == ('field first_input: depth takes one picture; send the file image alone')


def test_a_form_without_a_chosen_first_file(server):
    """Browsers send the field without a name of a file: it counts as absent."""
    for empty in (('first_input', '', b''), ('first_input', None, b'')):
        assert server.upload(empty, *ALONE, query='?model=depth').status == 200
        assert server.upload(empty, *ALONE).error.startswith('field first_input: missing')


def test_both_files_may_be_as_long_as_one(server):
    """The limit of bytes is one of each file."""
    parts = [(field, name, data + bytes(59_000 - len(data))) for field, name, data in PARTS]
    assert server.upload(*parts).status == 200  # bytes after the end of a PNG are no fault
    missing = server.upload(('first_input', 'a.png', FIRST))
    assert missing.status == 422
    assert missing.error.startswith('field image: missing')
