"""Text files of others: their encoding, kind and size."""

import os

import pytest

from common.reading import text_files
from common.reading.text_files import TextFileError


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16-le', 'utf-16-be'])
def test_text_is_read_in_the_encoding_of_its_byte_order_mark(encoding, tmp_path):
    text = 'ä: 1\r\n'
    mark = '\ufeff' if encoding.startswith('utf-16') else ''
    (tmp_path / 'x').write_bytes((mark + text).encode(encoding))
    assert text_files.read_text(tmp_path / 'x') == text
    for data, reason in (
        (b'a\nb\xff', r'UTF-8 text \(line 2'),
        (b'\xff\xfe\x00\x80', 'UTF-16 text.*Latin letter'),
        (b'\xff\xfea', 'UTF-16 text'),
    ):
        (tmp_path / 'x').write_bytes(data)
        with pytest.raises(TextFileError, match=f'x: not {reason}'):
            text_files.read_text(tmp_path / 'x')


def test_only_regular_files_of_the_size_are_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'file').write_text('12345678')
    for name, reason in (
        ('pipe', 'a pipe or a device'),
        ('/dev/zero', 'a pipe or a device'),
        ('.', 'a folder'),
        ('none', 'No such file'),
        ('a\0b', 'null'),
        ('x' * 300, 'too long'),
    ):
        with pytest.raises(TextFileError, match=f'cannot be read.*{reason}'):
            text_files.read_bytes(tmp_path / name)
    assert text_files.read_bytes(tmp_path / 'file', max_bytes=8) == b'12345678'
    with pytest.raises(TextFileError, match='has 8 bytes, more than 7'):
        text_files.read_bytes(tmp_path / 'file', max_bytes=7)
    with pytest.raises(TextFileError, match='has more than 0 bytes'):
        text_files.read_bytes('/proc/self/status', max_bytes=0)
