"""YAML that people write: names as written, duplicate keys and what unfolds without end refused."""

import pytest

from common.reading import yaml_text
from common.reading.yaml_text import YamlError

BOMB = 'a0: &a0 {x: 1}\n' + ''.join(
    f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 12)
)


def test_names_are_texts_and_other_values_are_not():
    text = 'classes: [no, 1.0, "a", ~]\nflag: no\ninner: {classes: [no]}'
    assert yaml_text.parse(text, 'x', ['classes']) == {
        'classes': ['no', '1.0', 'a', '~'],
        'flag': False,
        'inner': {'classes': [False]},
    }
    assert yaml_text.parse('classes: {yes: [1, no]}', 'x', ['classes']) == {
        'classes': {'yes': [1, False]}
    }
    assert yaml_text.parse(r'classes: ["\ud83d\ude00", é]', 'x', ['classes']) == {
        'classes': ['😀', 'é']
    }
    assert yaml_text.parse_names('[on, off]', 'x') == ['on', 'off']
    assert yaml_text.parse_names('null', 'x') is None
    assert yaml_text.parse('', 'x') is yaml_text.parse_names('', 'x') is None


def test_values_are_those_of_yaml_except_dates():
    text = 'a: [1_000, 0x1f, 017, 1:30:00, 0b11, .inf, 1e-4, 1.0e-4, ~, 2024-13-45, =, &x 3, *x]'
    assert yaml_text.parse(text, 'x') == {
        'a': [1000, 31, 15, 5400, 3, float('inf'), '1e-4', 1e-4, None, '2024-13-45', '=', 3, 3]
    }


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('a: {b: 1,\n  b: 2}', 'in line 2: duplicate key b'),
        ('a: [1', 'in line 1: expected'),
        ('a: 1\n--- 2', 'in line 2: but found another document'),
        ('a: 1\nb: "\0"', 'in line 2: the character #x0000'),
        ('a: 1\nb: "\\U00110000"', 'in line 2: an escape of no character'),
        ('\n' + '[' * 500, 'in line 2: more than 50 lists'),
        ('- ' * 5000, 'in line 1: more than 50 lists'),
        (BOMB, 'in line 5: more than 20000 values'),
        ('a: 1\nb: &b [*b]', 'in line 2: the alias b contains itself'),
        ('&b {*b : 1}', 'the alias b contains itself'),
        ('a: &a {b: 1}\nc: {<<: *a}', 'in line 2: << is not supported'),
        ('? [a]\n: 1', 'in line 1: a list or a mapping as a key'),
        ('a: !!set {b, c}', 'in line 1: the type !!set is not supported; remove its tag'),
        ('a: !!binary x', 'is not supported'),
        ('a: !!timestamp x', 'is not supported'),
        ('a: !!python/object:os.system {}', 'is not supported'),
        (f'a: !{"x" * 10_000} 1', 'is not supported'),
        (f'a: {"9" * 5000}', 'a number of more than 100 digits'),
        (f'a: {"9:" * 5000}9', 'a number of more than 100 digits'),
        ('a: !!int ""', "'' is no number"),
        (f'%YAML {"9" * 5000}.1\n--- 1', 'in line 1: too many digits'),
        ('b: 1\na: !!map [1]', 'in line 2: a tag calls a list or a value a mapping'),
        (r'a: "\ud83d"', 'in line 1: an escape of half of a surrogate pair'),
        ('a: !!float b', "'b' is no number"),
        ('a: !!bool b', "'b' is not true or false"),
        (f'? {"k" * 10_000}\n: 1\n? {"k" * 10_000}\n: 2', 'line 3: duplicate key k'),
        ('[' + '1,' * 20_001 + ']', 'more than 20000 values'),
    ],
)
def test_every_fault_is_one_line_with_its_place(text, problem):
    with pytest.raises(YamlError, match=f'^x.yaml: not valid YAML.*{problem}') as error:
        yaml_text.parse(text, 'x.yaml')
    assert len(str(error.value)) < 300


def test_a_file_of_many_megabytes_is_refused(tmp_path):
    (tmp_path / 'x.yaml').write_text('# comment\n' * 60_000)
    with pytest.raises(yaml_text.TextFileError, match='has 600000 bytes, more than'):
        yaml_text.read(tmp_path / 'x.yaml')
