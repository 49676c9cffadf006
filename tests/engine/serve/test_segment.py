"""POST /segment: every answer is that of the Segmenter, which infer.py uses."""

import base64
import http.client
import socket
import tempfile
import zlib

import cv2
import nnabla as nn
import numpy as np
import pytest

from datasets.image_files import decode_image, encode_image
from engine import Segmenter
from engine.inference.settings import ProtocolSettings
from support import served, stand_ins

SIZE = 40, 56
IMAGE = stand_ins.image(*SIZE)
PNG = encode_image('.png', IMAGE)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the config of a tiny network, and another that resizes to one size."""
    folder = tmp_path_factory.mktemp('models')
    settings = served.tiny_settings(folder)
    (folder / 'fixed.yaml').write_text('_base_: tiny.yaml\ntest_size: [32, 64]\n')
    return folder, settings


@pytest.fixture(scope='module')
def server(folder):
    with served.serving(folder[1], folder[0]) as running:
        yield running


@pytest.fixture(scope='module')
def segmenter(folder):
    return Segmenter(folder[0] / 'tiny.yaml', context='cpu')


@pytest.fixture(scope='module')
def expected(segmenter):
    return segmenter(IMAGE)


def picture(answer, flags=cv2.IMREAD_UNCHANGED):
    assert answer.status == 200, answer.body
    assert answer.headers['Content-Type'] == 'image/png'
    return cv2.imdecode(np.frombuffer(answer.body, np.uint8), flags)


def test_labels_are_the_default(server, expected):
    labels = picture(server.segment(PNG))
    assert labels.dtype == np.uint8 and len(np.unique(expected.labels)) > 1
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(picture(server.segment(PNG, '?output=labels')), labels)


def test_overlay(server, expected):
    np.testing.assert_array_equal(
        picture(server.segment(PNG, '?output=overlay')), expected.overlay()
    )


def test_palette(server, expected):
    colours = picture(server.segment(PNG, '?output=palette'), cv2.IMREAD_COLOR)
    painted = np.array(expected.palette, np.uint8)[expected.labels][..., ::-1]
    np.testing.assert_array_equal(colours, painted)


def test_confidence(server, expected):
    grey = picture(server.segment(PNG, '?output=confidence'))
    largest = expected.probabilities.max(axis=0)
    np.testing.assert_allclose(grey, 255 * largest, atol=0.51)
    assert grey.shape == SIZE and grey.std() > 1


def test_json(server, expected):
    answer = server.segment(PNG, '?output=json').json
    assert answer['model'] == 'tiny' and answer['scale'] is None and answer['seconds'] >= 0
    assert (answer['height'], answer['width']) == SIZE
    assert answer['views'] == [{'width': SIZE[1], 'height': SIZE[0]}]
    assert answer['confidence'] == pytest.approx(expected.confidence.mean(), abs=1e-5)
    assert not answer.keys() & {'pictures', 'pixels', 'original'}
    names = [found['name'] for found in answer['classes']]
    assert names == list(expected.shares)
    for found in answer['classes']:
        own = expected.labels == found['index']
        assert found['name'] == expected.classes[found['index']]
        assert found['colour'] == '#{:02x}{:02x}{:02x}'.format(*expected.palette[found['index']])
        assert found['pixels'] == own.sum() and found['share'] == pytest.approx(own.mean())
        assert found['confidence'] == pytest.approx(expected.confidence[own].mean(), abs=1e-5)


def test_parts_of_the_json(server, expected):
    query = '?output=json&include=pictures&include=pixels&include=original'
    answer = server.segment(PNG, query).json
    for kind in ('labels', 'palette'):
        alone = server.segment(PNG, f'?output={kind}').body
        assert base64.b64decode(answer['pictures'][kind]) == alone
    values = {
        kind: np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(SIZE)
        for kind, text in answer['pixels'].items()
    }
    np.testing.assert_array_equal(values['labels'], expected.labels)
    np.testing.assert_array_equal(
        values['confidence'], picture(server.segment(PNG, '?output=confidence'))
    )
    original = decode_image(base64.b64decode(answer['original']), 'original')
    assert np.abs(original.astype(int) - IMAGE).mean() < 20  # a JPEG


def test_scale_is_that_of_infer(server, folder):
    scaled = Segmenter(
        folder[0] / 'tiny.yaml', context='cpu', protocol=ProtocolSettings(scales=(0.5,))
    )
    answer = server.segment(PNG, '?scale=0.5')
    expected = scaled(IMAGE).labels
    np.testing.assert_array_equal(picture(answer), expected)
    assert (picture(server.segment(PNG)) != expected).any()
    told = server.segment(PNG, '?scale=0.5&output=json').json
    assert told['scale'] == 0.5
    assert told['views'] == [{'width': SIZE[1] // 2, 'height': SIZE[0] // 2}]


def test_another_model_is_loaded_when_it_is_asked_for(server, folder):
    fixed = Segmenter(folder[0] / 'fixed.yaml', context='cpu')
    before = {model['name']: model for model in server.get('/models').json['models']}
    assert before['tiny']['loaded'] and not before['fixed']['loaded']
    assert before['tiny']['scalable'] and not before['fixed']['scalable']
    assert before['fixed']['resizes'] and not before['tiny']['resizes']
    answer = server.segment(PNG, '?model=fixed')
    np.testing.assert_array_equal(picture(answer), fixed(IMAGE).labels)
    after = {model['name']: model for model in server.get('/models').json['models']}
    assert after['fixed']['loaded']
    refused = server.segment(PNG, '?model=fixed&scale=0.5')
    assert refused.status == 422 and 'leave scale out' in refused.error


def test_a_tiff_is_shown_as_the_network_saw_it(server, expected):
    tiff = encode_image('.tiff', IMAGE)
    np.testing.assert_array_equal(picture(server.segment(tiff)), expected.labels)
    answer = server.segment(tiff, '?output=json&include=original').json
    original = base64.b64decode(answer['original'])
    assert original.startswith(b'\xff\xd8\xff')
    assert decode_image(original, 'original').shape == IMAGE.shape


def test_models(server, segmenter):
    answer = server.get('/models').json
    assert answer['default'] == 'tiny'
    assert [model['name'] for model in answer['models']] == ['tiny', 'fixed']
    tiny = answer['models'][0]
    assert tiny['network'] == 'd3net' and tiny['weights'] == 'tiny.h5'
    assert tiny['classes'] == [
        {'index': index, 'name': name, 'colour': '#{:02x}{:02x}{:02x}'.format(*colour)}
        for index, (name, colour) in enumerate(zip(segmenter.info.classes, segmenter.info.palette))
    ]
    assert answer['limits'] == {'bytes': 32 << 20, 'pixels': 1 << 24, 'seconds': 60}


def test_health(server):
    answer = server.get('/health')
    state = answer.json
    assert answer.status == 200 and state['status'] == 'ok' and state['version']
    assert (state['running'], state['waiting'], state['capacity']) == (0, 0, 18)


def test_head_is_answered_without_a_body(server):
    answer = server.request('HEAD', '/models')
    assert answer.status == 200 and answer.body == b''
    assert int(answer.headers['Content-Length']) == len(server.get('/models').body)


def test_a_place_is_taken_until_the_answer_is_read(server):
    """Else clients that do not read could fill the memory with answers."""
    body = served.multipart(('image', 'a.png', encode_image('.png', stand_ins.image(300, 400))))
    server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(served.HANG_SECONDS)
        client.connect(('127.0.0.1', server.port))
        head = f'POST /segment?output=overlay HTTP/1.1\r\nContent-Length: {len(body)}\r\n'
        for name, value in {'Host': 'localhost', **served.MULTIPART_HEADER}.items():
            head += f'{name}: {value}\r\n'
        client.sendall(f'{head}\r\n'.encode() + body)
        assert client.recv(12) == b'HTTP/1.1 200'  # the answer has begun
        assert server.get('/health').json['waiting'] == 1
        while server.get('/health').json['waiting']:
            client.recv(1 << 16)


def test_tests_wait_for_work_whose_client_has_gone(server):
    """Else the next test cannot set NNabla's context, which a computation has until its end."""
    body = served.multipart(('image', 'a.png', encode_image('.png', stand_ins.image(900, 1200))))
    connection = http.client.HTTPConnection('127.0.0.1', server.port)
    connection.request('POST', '/segment', body, served.MULTIPART_HEADER)
    while not server.server.workers.running:
        pass
    connection.close()
    assert server.server.workers.running
    server.wait_for_workers()
    assert nn.context.context_level == 0
    assert not server.server.workers.running


def test_an_upload_is_never_written_to_a_file(server, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError('a temporary file')

    monkeypatch.setattr(tempfile, 'TemporaryFile', refuse)
    answer = server.segment(bytes(5_000_000))
    assert answer.status == 415 and 'not an image' in answer.error
