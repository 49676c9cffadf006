"""Who may use the server: host names, origins of web pages, CORS."""

import pytest

from datasets.image_files import encode_image
from engine.serve.settings import AccessSettings
from support import served, stand_ins

PNG = encode_image('.png', stand_ins.image(40, 56))
FRIEND = 'https://pages.example'


@pytest.fixture(scope='module')
def open_server(tmp_path_factory):
    """A server that lets one other web page and one other host name in."""
    folder = tmp_path_factory.mktemp('models')
    access = AccessSettings(allow_origins=(FRIEND,), allow_hosts=('Seg.Example',))
    with served.serving(served.tiny_settings(folder, access=access), folder) as running:
        yield running


@pytest.mark.parametrize(
    'host', ['127.0.0.1', '127.0.0.1:99', 'localhost:8000', 'LOCALHOST', '[::1]:8000', '127.8.9.1']
)
def test_names_of_this_machine(small_server, host):
    assert small_server.get('/health', Host=host).status == 200


@pytest.mark.parametrize(
    'host', ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '192.168.1.2',
             'seg.example', '', '[', '127.0.0.1@evil.example']
)  # fmt: skip
def test_another_host_name_is_refused(small_server, host):
    """As after DNS rebinding: a name of the attacker that leads to this machine."""
    answer = small_server.get('/models', Host=host)
    assert answer.status == 400
    assert '--allow-host' in answer.error


def test_an_allowed_host_name(open_server):
    assert open_server.get('/health', Host='seg.example:80').status == 200
    assert open_server.get('/health', Host='evil.example').status == 400


@pytest.mark.parametrize(
    'origin', ['https://evil.example', 'null', 'http://127.0.0.1:1', 'http://localhost', FRIEND]
)
def test_a_web_page_of_another_origin_is_refused(small_server, origin):
    answer = small_server.segment(PNG, Origin=origin)
    assert answer.status == 403
    assert '--allow-origin' in answer.error
    assert 'Access-Control-Allow-Origin' not in answer.headers


def test_the_own_page_may_use_the_server(small_server):
    own = f'http://127.0.0.1:{small_server.port}'
    assert small_server.segment(PNG, Origin=own).status == 200


def test_an_allowed_origin(open_server):
    for answer in (
        open_server.segment(PNG, Origin=FRIEND),
        open_server.segment(b'no image', Origin=FRIEND),
        open_server.get('/models', Origin=FRIEND),
    ):
        assert answer.headers['Access-Control-Allow-Origin'] == FRIEND
        assert 'Access-Control-Allow-Credentials' not in answer.headers
    assert open_server.segment(PNG, Origin='https://pages.example.evil').status == 403


def test_a_preflight(open_server, small_server):
    asked = {'Access_Control_Request_Method': 'POST', 'Origin': FRIEND}
    headers = {name.replace('_', '-'): value for name, value in asked.items()}
    answer = open_server.request('OPTIONS', '/segment', headers=headers)
    assert answer.status == 200
    assert 'POST' in answer.headers['Access-Control-Allow-Methods']
    assert small_server.request('OPTIONS', '/segment', headers=headers).status == 403
