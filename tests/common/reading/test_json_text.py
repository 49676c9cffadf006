"""JSON of others: values, or one line with file and place."""

import pytest

from common.reading import json_text
from common.reading.text_files import TextFileError


def test_values_come_as_written():
    text = '{"a": [1, 2.5, true, null, "\\u00e4\\ud83d\\ude00\\udc80"]}'
    expected = {'a': [1, 2.5, True, None, 'ä😀\udc80']}
    assert json_text.parse(text, 'x', dict) == expected
    assert json_text.parse(b'\xef\xbb\xbf' + text.encode(), 'x', dict) == expected
    assert json_text.parse(text.encode('utf-16'), 'x', dict) == expected
    assert json_text.parse('{"a": 1, "a": 2}', 'x', dict, unique_keys=False) == {'a': 2}


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('', 'it is empty'),
        ('[1,', r'\(column 4\)'),
        ('[1,\n  x]', r'\(line 2, column 3\)'),
        ('[NaN]', 'NaN is no number'),
        ('[-Infinity]', '-Infinity is no number'),
        ('[1,\n' + '9' * 5000 + ']', r'\(line 2, column 1\): a number with too many digits'),
        ('[' * 100_000, 'nested too deeply'),
        ('{"a":' * 100_000, 'nested too deeply'),
        ('[{"a": 1, "b": 2, "a": 3}]', "the key 'a' twice"),
        (r'["\ud800"]', 'surrogate pair'),
        ('{}', 'not a JSON list'),
        (b'[1,\n"\xff"]', r'not UTF-8 text \(line 2'),
        (b'\xff\xfea', 'not UTF-16 text'),
    ],
)  # fmt: skip
def test_every_fault_is_one_line_with_the_place(text, problem):
    with pytest.raises(TextFileError, match=rf'^x.json: .*{problem}') as error:
        json_text.parse(text, 'x.json', list)
    assert len(str(error.value)) < 200


def test_numbers_that_arrays_cannot_hold_are_told_apart():
    huge = json_text.parse('[1' + '0' * 4000 + ']', 'x', list)[0]
    assert [json_text.is_count(n) for n in (0, 7, -1, True, 1.0, huge)] == [True, True] + [
        False
    ] * 4
    assert json_text.is_count(-1, least=-1) and not json_text.is_count(8, most=7)
    assert all(map(json_text.is_number, (0, -3, 2.5)))
    assert not any(map(json_text.is_number, (True, huge, float('inf'), float('nan'), '1', None)))


def test_a_file_is_read_up_to_the_size_that_its_reader_allows(tmp_path):
    (tmp_path / 'file').write_text('[12345678]')
    assert json_text.read(tmp_path / 'file', list, max_bytes=10) == [12345678]
    with pytest.raises(TextFileError, match='has 10 bytes, more than 9'):
        json_text.read(tmp_path / 'file', list, max_bytes=9)
