"""YAML that people write: names as written, duplicate keys refused."""

import pytest
import yaml

from common import yaml_text


def test_names_are_texts_and_other_values_are_not():
    text = 'classes: [no, 1.0, "a", ~]\nflag: no\ninner: {classes: [no]}'
    assert yaml_text.parse(text, ['classes']) == {
        'classes': ['no', '1.0', 'a', '~'],
        'flag': False,
        'inner': {'classes': [False]},
    }
    assert yaml_text.parse('classes: {yes: [1, no]}', ['classes']) == {
        'classes': {'yes': [1, False]}
    }
    assert yaml_text.parse_names('[on, off]') == ['on', 'off']
    assert yaml_text.parse_names('null') is None
    assert yaml_text.parse('') is yaml_text.parse_names('') is None


def test_duplicate_keys_are_refused_with_their_line():
    with pytest.raises(yaml.YAMLError) as error:
        yaml_text.parse('a: {b: 1,\n  b: 2}')
    assert yaml_text.problem(error.value) == ' in line 2: duplicate key b'


@pytest.mark.parametrize('text', ['a: 2024-13-45', '[' * 500, 'a: [1'])
def test_every_fault_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        yaml_text.parse(text)
