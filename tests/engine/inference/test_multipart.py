"""The parts of an HTTP answer, however its bytes are cut into blocks."""

import itertools

import pytest

from common.downloading.http_get import AnswerError
from engine.inference import multipart


@pytest.mark.parametrize('size', [1, 7, 10_000])
@pytest.mark.parametrize('style', ['lengths', 'boundaries only', 'line feeds'])
def test_parts_are_found_in_any_blocks(size, style):
    contents = [b'--frame is in it\r\n' * 2, b'\xff\xd8' + bytes(range(256)), b'x']
    text = b'preamble\r\n'
    for content in contents:
        length = b'CONTENT-length:  %d\r\n' % len(content) if style == 'lengths' else b''
        if not length:
            content = content.replace(b'--frame', b'=frame')
        text += b'--frame\r\nType: a\r\n' + length + b'\r\n' + content + b'\r\n'
    text += b'--frame--\r\n'
    if style == 'line feeds':
        text = text.replace(b'\r\n', b'\n')
        contents = [content.replace(b'\r\n', b'\n') for content in contents]
    if style != 'lengths':
        contents = [content.replace(b'--frame', b'=frame') for content in contents]
    for boundary in ('frame', '"frame"', '--frame; charset=x'):
        blocks = (text[start : start + size] for start in range(0, len(text), size))
        assert list(multipart.parts(blocks, f'multipart/x; boundary={boundary}')) == contents


def test_endless_parts_are_given_up(monkeypatch):
    monkeypatch.setattr(multipart, 'MAX_PART_BYTES', 1 << 20)
    zeros = itertools.repeat(bytes(1 << 18))
    for head in (
        b'--frame\r\n',
        b'--frame\r\n\r\n',
        b'--frame\r\ncontent-length: 9999999\r\n\r\n',
    ):
        blocks = itertools.chain([head], itertools.islice(zeros, 100))
        with pytest.raises(AnswerError, match='sends a part of'):
            list(multipart.parts(blocks, 'multipart/x; boundary=frame'))
