"""Command settings, created from a command line or in Python."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from common import command
from common.errors import UserError
from common.settings import flag, group, option
from engine.device.settings import DeviceSettings


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f'{text}: give an even number')
    return int(text)


@dataclass(frozen=True)
class PlaceSettings:
    folder: Path | None = option('-d', '--folder', type=Path)
    names: tuple[str, ...] = option('--name', action='append', default=())
    kinds: tuple[str, ...] = option('--kind', action='extend', nargs='+', default=('all', 'of it'))


@dataclass(frozen=True)
class TaskSettings:
    inputs: tuple[str, ...] = option(nargs='+', default=())
    place: PlaceSettings = group(PlaceSettings, 'where')
    count: int = option('-n', '--count', type=even, default=2, help='(default: %(default)s)')
    every: bool = flag('--all', exclusive='which')
    first: bool = flag('--first', exclusive='which')


def parse(*arguments: str) -> TaskSettings:
    parser = command.Parser('task')
    command.add_options(parser, TaskSettings)
    return command.settings(TaskSettings, parser.parse_args(arguments))


def test_options_become_settings():
    assert parse('a') == TaskSettings(inputs=('a',))
    assert parse('a', 'b', '-d', 'x', '--name', 'c', '--name', 'd', '-n', '4', '--all') == (
        TaskSettings(('a', 'b'), PlaceSettings(Path('x'), ('c', 'd')), 4, every=True)
    )
    assert parse('a') == TaskSettings(('a',)), 'the lists of one call appear in the next'


def test_an_option_with_several_values_may_be_repeated():
    assert parse('a').place.kinds == ('all', 'of it')
    assert parse('a', '--kind', 'b', 'c', '-n', '4', '--kind', 'd').place.kinds == ('b', 'c', 'd')
    assert parse('a', '--kind', 'b').place.kinds == ('b',), 'the default is not extended'


def test_mistakes_end_in_one_line():
    with pytest.raises(UserError, match='argument -n/--count: 3: give an even number; task --help'):
        parse('a', '-n', '3')
    with pytest.raises(UserError, match='--first: not allowed with argument --all'):
        parse('a', '--all', '--first')


def test_help_has_groups_and_defaults():
    parser = command.Parser('task')
    command.add_options(parser, TaskSettings)
    text = parser.format_help()
    assert 'where:' in text
    assert '(default: 2)' in text


def test_choices_are_checked_in_python_too():
    with pytest.raises(UserError, match='--context gpu: invalid choice; choose from auto'):
        DeviceSettings(context='gpu')
    assert DeviceSettings(context='cudnn').context == 'cudnn'
