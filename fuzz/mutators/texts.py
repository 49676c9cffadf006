"""Damage to YAML, JSON and lists that knows their structure."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_DEEP = 50_000  # levels of nesting, far beyond Python's recursion limit
_ODD_YAML = (
    '2001-01-01', '2001-13-45', '2001-01-01 99:99:99', '!!set {a, b}', '!!python/name:os.system',
    '!!binary gA==', '!!binary "%%"', '!!omap [a: 1]', '!!timestamp x', '!!int "x"', '!!float ""',
    '!unknown 1', '*missing', '&a [*a]', '&a {x: *a}', '{a: b, a: c}', '{[1, 2]: 3}', '{{}: 1}',
    '? [a]', '~', '~nouser', '~nouser/x', '~/x', '.nan', '.inf', '-.inf', '1e999',
    '0x' + 'f' * 500,
    '9' * 5000, '-' + '9' * 300, '1_000', '0o7', '1:30:00', '"\\0"', '"a\\0b"', '"\\e[2J"',
    '"\\uD800"', '"\\U00110000"', '|\n  text', '[' * 200, '{' * 200, '[1, [2, [3]]]', '{}', '[]',
    'yes', 'no', 'null', "''", '- x', ': ', '<<: [1]', '<<: *a', '/dev/zero', '/proc/self/mem',
    '.',
    '..', '/', '\t', '@x', '`x`', '%TAG', '---', '...', '"unclosed', "'unclosed", '[unclosed',
    'a' * 70_000, '\x07', '\u2028', '-0', '1e-400', '0.1', '-1', '256', '65536', '1e3', 'true',
)  # fmt: skip
_ODD_JSON: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 255, 256, 2**31, 2**63, 2**64, 10**400, -(10**30), 0.5, -0.0,
    float('nan'), float('inf'), float('-inf'), 1e308, '', 'a', '\x1b[2J', 'a\nb', '\0', '\ud800',
    '/etc/passwd', '../..', '/dev/zero', '~nouser', 'x' * 70_000, [], {}, [[]], [None], [1, 2],
    {'a': 1},
    [[[[[1]]]]], {'': {}}, '\u202e', ['a', 1], [1e999], [True], [[1, 2, 3, 4]], [[0] * 7], -1e300,
)  # fmt: skip
_LINE_ODDS = (
    '', ' ', '\t', ',', ',,,', '\t\t', '\\', '/', '.', '..', '\0', '\x1b[2J', '~', '~nouser/x',
    '{}', '[]',
    '{"fpath_img": 1}', '{"fpath_img": null}', '{"fpath_img": "a", "fpath_segm": []}', '1e999',
    '[' * 50_000, '{"a":' * 50_000, '9' * 5000, 'nan', 'inf', '-inf', 'a' * 70_000, '"', "'",
    '\u2028',
    '{"fpath_img": ' + '9' * 5000 + '}', 'a b c d', '/dev/zero', '/proc/self/mem\tx', '\ufeff',
    '-1', '1 2 3 4',
)  # fmt: skip
_ODD_XML = (
    '""', '"-1"', '"nan"', '"inf"', '"1e999"', '"1e6"', '"999999"', '"1e300"', '"0"', '"1_0"',
    '"4294967296"',
    '"' + '9' * 5000 + '"', '"1,2"', '"1,2;3,4;5"', '";;;"', '",,,"', '"1, 1, 1"', '"0, 0, 64"',
    '"&#27;[2J"', '"&#0;"', '"&lt;"', '"&unknown;"', '"a&#10;b"', '"../../a.jpg"', '"/etc/passwd"',
    '"\u0663"', '"\u202e"', '"' + 'a' * 70_000 + '"', '"' + '1,1;' * 50_000 + '"', 'track',
    'mask', 'box', 'polygon', 'image', '<![CDATA[x]]>', '<!-- x -->', '<?x y?>', '\x0c', '"\x00"',
    ' encoding="utf-7"', ' encoding="x"', ' encoding="rot13"',
)  # fmt: skip


def odd_yaml_value(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace the value of a key, or an item, by an odd one."""
    lines = _lines(data)
    index = int(rng.integers(len(lines)))
    head, separator, _ = lines[index].partition(': ')
    head = head if separator else lines[index].rstrip(':')
    lines[index] = f'{head}: {pick(rng, _ODD_YAML)}'
    return _joined(lines)


def odd_yaml_scalar(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a word or a number anywhere by an odd value."""
    text = _text(data)
    words = list(re.finditer(r'[\w.]+', text))
    if not words:
        return data
    found = pick(rng, words)
    return _bytes(text[: found.start()] + pick(rng, _ODD_YAML) + text[found.end() :])


def move_yaml_line(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat, drop, indent or move a line, or bring in one of another file."""
    lines = _lines(data)
    index, way = int(rng.integers(len(lines))), int(rng.integers(5))
    if way == 0:
        lines.insert(int(rng.integers(len(lines))), lines[index])
    elif way == 1:
        del lines[index]
    elif way == 2:
        lines[index] = '  ' * int(rng.integers(1, 4)) + lines[index]
    elif way == 3:
        lines.insert(int(rng.integers(len(lines))), lines.pop(index))
    else:
        lines.insert(index, pick(rng, _lines(pick(rng, others))))
    return _joined(lines)


def yaml_bomb(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Put an alias bomb, or deep nesting, as the value of a key."""
    levels = int(rng.integers(2, 40))
    entries = [f'&a0 [{", ".join(["x"] * 9)}]']
    entries += [f'&a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, levels)]
    mapped = [
        f'&a{i} {{' + ', '.join(f'k{j}: *a{i - 1}' for j in range(9)) + '}'
        for i in range(1, levels)
    ]
    bomb = pick(
        rng,
        [
            f'[{", ".join(entries)}]',
            f'[{", ".join([entries[0], *mapped])}]',
            '[' * _DEEP + ']' * _DEEP,
            '{a: ' * _DEEP + '1' + '}' * _DEEP,
            '[' * _DEEP,
            '- ' * _DEEP,
        ],
    )
    lines = _lines(data)
    index = int(rng.integers(len(lines)))
    key = re.split(r':', lines[index])[0].strip() or 'key'
    lines[index] = f'{key}: {bomb}'
    return _joined(lines)


def odd_json_value(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace, drop or repeat a value anywhere in a JSON document."""
    try:
        document = json.loads(data)
    except ValueError:
        return data
    places = list(_places(document))
    if not places:
        return json.dumps(pick(rng, _ODD_JSON)).encode()
    parent, key = pick(rng, places)
    way = rng.random()
    if way < 0.8:
        parent[key] = pick(rng, _ODD_JSON)
    elif way < 0.9:
        del parent[key]
    elif isinstance(parent, list):
        parent.insert(key, parent[key])
    else:
        parent[f'{key}x'] = parent.pop(key)
    return json.dumps(document).encode()


def odd_json_document(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a whole document, or a value, by deep nesting, huge integers or other encodings."""
    text = _text(data)
    numbers = list(re.finditer(r'-?\d+', text))
    odd = [
        '[' * _DEEP + ']' * _DEEP, '{"a":' * _DEEP, '[' * _DEEP, '9' * 5000, 'NaN', '-Infinity',
        '1e999',
        '"' + 'a' * 100_000, 'null', '{"a": 1, "a": 2}', '', ' ', '\0', '\ufeff{}', '[1,]',
        "{'a': 1}",
    ]  # fmt: skip
    value = pick(rng, odd)
    if not numbers or rng.random() < 0.2:
        return _bytes(value) if rng.random() < 0.8 else text.encode('utf-16')
    found = pick(rng, numbers)
    return _bytes(text[: found.start()] + value + text[found.end() :])


def odd_line(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a line of a list, or a part of one, by something odd."""
    lines = _lines(data)
    index, odd = int(rng.integers(len(lines))), pick(rng, _LINE_ODDS)
    parts = re.split(r'(\s+|,)', lines[index])
    if rng.random() < 0.5:
        parts[int(rng.integers(len(parts)))] = odd
        lines[index] = ''.join(parts)
    else:
        lines[index] = odd
    return _joined(lines)


def odd_xml_value(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Replace a value or a name in a tag by an odd one."""
    text = _text(data)
    words = list(re.finditer(r'"[^"<>]*"|\w+', text))
    if not words:
        return data
    found, odd = pick(rng, words), pick(rng, _ODD_XML)
    return _bytes(text[: found.start()] + odd + text[found.end() :])


def xml_bomb(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Declare entities that unfold or name other files, or nest elements without end."""
    text = _text(data)
    levels = ''.join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    way = int(rng.integers(4))
    if way == 0:
        declared = f'<!DOCTYPE a [<!ENTITY e0 "bomb">{levels}]>'
    elif way == 1:
        declared = '<!DOCTYPE a [<!ENTITY e11 SYSTEM "file:///etc/passwd">]>'
    elif way == 2:
        declared = '<a>' * _DEEP
    else:
        declared = '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">'
    start = text.find('<', text.find('?>') + 2)
    return _bytes(text[:start] + declared + re.sub(r'"[^"]*"', '"&e11;"', text[start:], count=1))


def other_encoding(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Write a text in another encoding, with other line ends or with a byte order mark."""
    text = _text(data)
    codec = pick(rng, ['utf-16', 'utf-32', 'utf-16-le', 'utf-8-sig', 'cp037', 'utf-7'])
    if rng.random() < 0.3:
        text = text.replace('\n', pick(rng, ['\r\n', '\r', '\x85', '\u2028', '\0', '\x0b']))
    return text.encode(codec, errors='replace')


def _places(value: Any) -> Any:
    """Yield a container and a key for every value in a JSON document."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in list(items):
        yield value, key
        yield from _places(part)


def _text(data: bytes) -> str:
    return data.decode('utf-8', errors='replace')


def _bytes(text: str) -> bytes:
    return text.encode('utf-8', errors='surrogatepass')


def _lines(data: bytes) -> list[str]:
    return _text(data).splitlines() or ['']


def _joined(lines: Sequence[str]) -> bytes:
    return _bytes('\n'.join(lines) + '\n')


OF_YAML = tuple(
    map(
        Mutator,
        (
            odd_yaml_value,
            odd_yaml_value,
            odd_yaml_scalar,
            move_yaml_line,
            yaml_bomb,
            other_encoding,
        ),
    )
)
OF_JSON = tuple(map(Mutator, (odd_json_value, odd_json_value, odd_json_value, odd_json_document)))
OF_LISTS = tuple(map(Mutator, (odd_line, odd_line, move_yaml_line, other_encoding)))
OF_XML = tuple(
    map(Mutator, (odd_xml_value, odd_xml_value, odd_xml_value, xml_bomb, other_encoding))
)
