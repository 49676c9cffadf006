"""What is refused gets a status and one line with the remedy, and no traceback."""

import logging
import re
import struct
import zlib

import pytest

from datasets.image_files import encode_image
from support import served, stand_ins

IMAGE = stand_ins.image(40, 56)
PNG, JPEG = encode_image('.png', IMAGE), encode_image('.jpg', IMAGE)


def claiming(width, height):
    """Return a JPEG of a few bytes that claims a size."""
    place = JPEG.index(b'\xff\xc0') + 5
    return JPEG[:place] + struct.pack('>HH', height, width) + JPEG[place + 4 :]


@pytest.mark.parametrize(
    'query, words',
    [
        ('?output=picture', "output: must be 'labels', 'overlay', .* not 'picture'"),
        ('?ouput=json', 'ouput: unknown parameter; the nearest is output'),
        ('?zoom=2', 'zoom: unknown parameter; known are model, output, scale, include'),
        ('?scale=0', "scale: must be greater than 0, not '0'"),
        ('?scale=4.1', "scale: must be less than or equal to 4, not '4.1'"),
        ('?scale=nan', 'scale: must be a finite number'),
        ('?scale=inf', 'scale: must be '),
        ('?scale=big', "scale: must be a valid number, not 'big'$"),
        ('?output=json&include=all', "include: must be 'pictures', 'pixels' or 'original'"),
        ('?include=pixels', 'include: belongs to output=json'),
        ('?output=json&output=labels', 'output: given twice'),
        ('?model=tinny', "model: 'tinny' is not here; the nearest: tiny .GET /models lists all"),
        ('?model=' + 'x' * 5000, 'model: .x{50,200}.* is not here'),
        ('?model=%0d%0a%1b[31m', 'model: .*x1b.* is not here'),
    ],
)
def test_wrong_parameters(small_server, query, words):
    answer = small_server.segment(PNG, query)
    assert answer.status == 422
    assert_matches(words, answer.error)


def assert_matches(words, line):
    assert re.search(words, line), line


@pytest.mark.parametrize(
    'data, name, words',
    [
        (b'', 'empty.png', 'empty.png: not an image'),
        (b'hello', 'notes.txt', 'notes.txt: not an image, or of a format that is not read; conv'),
        (JPEG[:700], 'half.jpg', 'half.jpg: damaged or truncated'),
        (PNG[:-500], 'half.png', 'half.png: damaged or truncated'),
        (PNG[:100] + bytes(50) + PNG[150:], 'hole.png', 'hole.png: damaged'),
        (b'%!PS-Adobe-3.0\n', 'a.eps', 'a.eps: not an image'),
        (b'hello', '\x1b[31mred.png', r'\\x1b.31mred'),
        (b'hello', 'n' * 900, 'n{190,200}'),
    ],
)
def test_a_file_that_is_no_image(small_server, data, name, words):
    answer = small_server.segment(data, name=name)
    assert answer.status == 415
    assert_matches(words, answer.error)
    assert len(answer.error) < 600


@pytest.mark.parametrize(
    'data', [claiming(60_000, 60_000), encode_image('.png', stand_ins.image(100, 101))]
)
def test_too_many_pixels(small_server, data):
    """Refused before memory is allocated for them."""
    answer = small_server.segment(data)
    assert answer.status == 413
    assert answer.error == (
        'photo.png: more than 10000 pixels; make it smaller, or start the server with a larger '
        '--max-pixels'
    )


def test_too_many_pixels_at_a_scale(small_server):
    answer = small_server.segment(PNG, '?scale=3')
    assert answer.status == 413
    assert answer.error.startswith('scale: 168x120 pixels, but the network sees at most 10000')
    assert small_server.segment(PNG, '?scale=2').status == 200


def test_a_bomb_of_text_is_not_unpacked(small_server):
    """A PNG with 100 MB of text in 100 kB."""
    packed = zlib.compress(bytes(100_000_000))
    data = b'Comment\0\0' + packed
    text = struct.pack('>I', len(data)) + b'zTXt' + data
    text += struct.pack('>I', zlib.crc32(b'zTXt' + data))
    answer = small_server.segment(PNG[:33] + text + PNG[33:])
    assert answer.status in (200, 415)
    assert small_server.segment(PNG).status == 200


@pytest.mark.parametrize(
    'parts, status, words',
    [
        ([], 422, 'field image: missing; send a file, as with curl -F image=@photo.jpg'),
        ([('photo', 'a.png', PNG)], 422, "field 'photo': unknown; the body has the file image"),
        ([('image', 'a.png', PNG), ('scale', None, b'2')], 422, "field 'scale': unknown"),
        ([('image', 'a.png', PNG)] * 2, 422, 'field image: given 2 times; send one file'),
        ([('image', None, b'a.png')], 422, 'field image: is a text, as it has no filename; send'),
        ([('image', None, bytes(150_000))], 422, 'field image: is a text, as it has no filename'),
        ([('image', 'a.png', b'x')] * 100, 400, 'the multipart body is broken: Too many files'),
        ([('image', None, b'x')] * 100, 400, 'the multipart body is broken: Too many fields'),
        ([('i' * 100_000, 'a.png', PNG)], 400, 'the multipart body is broken'),
    ],
)
def test_other_bodies(small_server, parts, status, words):
    body = served.multipart(*parts)
    answer = small_server.request('POST', '/segment', body, served.MULTIPART_HEADER)
    assert answer.status == status
    assert_matches(words, answer.error)


def test_a_broken_body_leaves_no_line_in_the_log(small_server, monkeypatch):
    """Clients could fill the disk of the server otherwise."""
    shown, root = [], logging.getLogger()
    handler = logging.Handler()  # not caplog's, which is attached to silenced loggers, too
    monkeypatch.setattr(handler, 'emit', shown.append)
    monkeypatch.setattr(root, 'handlers', [handler])
    answer = small_server.request('POST', '/segment', b'nonsense', served.MULTIPART_HEADER)
    assert answer.status == 400
    assert [record for record in shown if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize(
    'kind, status',
    [
        (None, 415), ('image/png', 415), ('application/x-www-form-urlencoded', 415),
        ('multipart/form-data', 400), ('multipart/form-data; boundary=' + 'b' * 300, 400),
        ('Multipart/Form-Data; boundary=other', 400),
    ],
)  # fmt: skip
def test_bodies_of_other_kinds(small_server, kind, status):
    body = served.multipart(('image', 'a.png', PNG))
    headers = {'Content-Type': kind} if kind else {}
    answer = small_server.request('POST', '/segment', body, headers)
    assert answer.status == status
    assert 'curl -F image=@photo.jpg' in answer.error


def test_no_body(small_server):
    assert small_server.request('POST', '/segment').status == 415


@pytest.mark.parametrize(
    'method, path, status', [
        ('GET', '/segment', 405), ('PUT', '/models', 405), ('GET', '/redoc', 404),
        ('POST', '/segment/', 404), ('GET', '/page/../settings.py', 404),
        ('GET', '/page/%2e%2e/settings.py', 404),
        ('GET', '/page//etc/passwd', 404), ('GET', '/docs/..%2fsettings.py', 404),
    ]
)  # fmt: skip
def test_other_routes(small_server, method, path, status):
    answer = small_server.request(method, path)
    assert answer.status == status
    assert '/docs' in answer.error


@pytest.mark.parametrize('path', ['/models', '/segment', '/docs', '/page/page.css'])
def test_a_refused_method_names_those_that_are_allowed(small_server, path):
    answer = small_server.request('DELETE', path)
    assert answer.status == 405 and answer.headers['Allow']


def test_every_answer_has_the_headers_of_security(small_server):
    for answer in (
        small_server.get('/models'),
        small_server.get('/nothing'),
        small_server.segment(PNG),
        small_server.segment(b'no image'),
        small_server.get('/models', Host='elsewhere.example'),
    ):
        policy = answer.headers['Content-Security-Policy']
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert 'unsafe' not in policy and 'http' not in policy
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['X-Frame-Options'] == 'DENY'
        assert answer.headers['Referrer-Policy'] == 'no-referrer'
        assert answer.headers['Cross-Origin-Resource-Policy'] == 'same-origin'
        assert answer.headers['Cross-Origin-Opener-Policy'] == 'same-origin'
        assert answer.headers['Cache-Control'] == 'no-store'
        assert 'Server' not in answer.headers
        assert 'Access-Control-Allow-Origin' not in answer.headers


def test_the_server_still_answers(small_server):
    assert small_server.segment(PNG).status == 200
    assert small_server.get('/health').json['waiting'] == 0
