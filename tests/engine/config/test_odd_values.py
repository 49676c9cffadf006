"""Every key of a config with every wrong kind of value, and bases without end: one line each."""

import os
from pathlib import Path

import pytest

from common.errors import UserError
from common.sections import SectionError, keys_of
from engine import config
from engine.config import loading, reading, reference, schema

NESTED: list = [[1]]
for _ in range(60):
    NESTED = [NESTED] * 9
ODD = (
    {}, {'a': 1}, [], [[1, 2], [3]], [None], [{}], NESTED, b'x', {1}, (1, 'x'), 10**400, 16**10_000,
    -(10**400), float('nan'), float('inf'), [float('nan')], [10**400], 'x' * 10**6, '', '\0',
    '\ud800',
)  # fmt: skip
TEXTS = (
    '{a: 1}', '[[1, 2], [3]]', '[~]', '[true, 1]', '2024-05-01', '9' * 90, '-1', '.nan', '.inf',
    '1e400', '"a\\0b"', '~nouser/x', '"' + 'x' * 5000 + '"', '"\\ud800"', '[[[[1]]]]', '!!set {a}',
)  # fmt: skip


def all_keys():
    """Return every key of every section, by name."""
    return {key.name: key for _, entries in reference.paragraphs() for key in entries}


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_every_key_converts_or_refuses_every_value():
    for key in all_keys().values():
        for value in ODD:
            try:
                key.convert(value)
            except SectionError as error:
                assert str(error).startswith(f'{key.name}: ')
                assert len(str(error)) < 1500


def test_a_file_with_a_wrong_value_is_named_with_its_key(tmp_path):
    """Each key with one of the values; ``make fuzz`` tries many more."""
    for number, key in enumerate([*all_keys(), *schema.FIXED_VALUES]):
        value = TEXTS[number % len(TEXTS)]
        head = (
            '' if key in ('network', 'num_classes') else 'network: ddrnet23_slim\nnum_classes: 3\n'
        )
        path = write(tmp_path, 'own.yaml', f'{head}{key}: {value}\n')
        try:
            loading.with_origins(config.load(path))
        except UserError as error:
            assert 'own.yaml' in str(error)
            assert key in str(error) or 'not valid YAML in line' in str(error)
            assert len(str(error)) < 1500


def test_each_base_is_read_once(tmp_path, monkeypatch):
    """Ten levels that name the one below ten times would be read ten billion times."""
    reads = []
    original = reading.yaml_text.read
    monkeypatch.setattr(
        reading.yaml_text, 'read', lambda path, *more: reads.append(path) or original(path, *more)
    )
    write(tmp_path, 'level0.yaml', 'network: ddrnet23_slim\nnum_classes: 3\nlr: 0.5\n')
    for level in range(1, 11):
        names = ', '.join([f'level{level - 1}.yaml'] * 10)
        path = write(tmp_path, f'level{level}.yaml', f'_base_: [{names}]\nmax_iter: {level}\n')
    loaded = config.load(path)
    assert (loaded['lr'], loaded['max_iter']) == (0.5, 10)
    assert loaded.origin('lr') == str(tmp_path / 'level0.yaml')
    assert len(reads) == len(set(reads)) == 11


def test_bases_have_an_end(tmp_path):
    write(tmp_path, 'c0.yaml', 'network: ddrnet23_slim\nnum_classes: 3\n')
    for number in range(1, 120):
        write(tmp_path, f'c{number}.yaml', f'_base_: c{number - 1}.yaml\n')
    assert config.load(tmp_path / 'c99.yaml')['num_classes'] == 3
    with pytest.raises(UserError, match='c119.yaml: inherits from more than 100 files by _base_'):
        config.load(tmp_path / 'c119.yaml')
    names = ', '.join(f'c{number}.yaml' for number in range(110))
    path = write(tmp_path, 'wide.yaml', f'_base_: [{names}]\n')
    with pytest.raises(UserError, match='wide.yaml: inherits from more than 100 files by _base_'):
        config.load(path)


def test_bases_that_are_no_files_are_named_with_the_config(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for base in (
        '1',
        '{a: 1}',
        '[[a]]',
        'true',
        'pipe',
        '/dev/zero',
        '~nouser',
        '"a\\0b"',
        'x' * 300,
    ):
        path = write(tmp_path, 'own.yaml', f'_base_: {base}\n')
        with pytest.raises(UserError, match='own.yaml: _base_ (must name a file|names)') as error:
            config.load(path)
        assert len(str(error.value)) < 1500


def test_pipes_and_devices_are_no_configs(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'run').mkdir()
    os.mkfifo(tmp_path / 'run/config.yaml')
    for path in (tmp_path / 'pipe', tmp_path / 'run', Path('/dev/zero')):
        with pytest.raises(UserError, match='is a pipe or a device|has no config.yaml'):
            config.load(path)


def test_home_folders_that_nobody_has_are_named_with_the_key(tmp_path):
    path = write(tmp_path, 'own.yaml', 'network: ddrnet23_slim\nnum_classes: 3\n')
    for key in reading.PATH_KEYS:
        with pytest.raises(UserError, match=rf'^{key}: ~nouser/x: no home folder .* \(--set\)$'):
            config.load(path, [f'{key}=~nouser/x'])


def test_sections_of_python_users_refuse_numbers_without_end():
    number = next(key for key in keys_of(schema.fixed_sections()[0]).values() if key.type is int)
    with pytest.raises(SectionError, match='must be finite, not a number of 1329 bits'):
        number.convert(10**400)
