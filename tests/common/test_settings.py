"""Settings of a command: made from a command line, or in Python."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import helpers
from common import command
from common.errors import UserError
from common.settings import group, option


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f'{text}: give an even number')
    return int(text)


@dataclass(frozen=True)
class PlaceSettings:
    folder: Path | None = option('-d', '--folder', type=Path)
    names: tuple[str, ...] = option('--name', action='append', default=())


@dataclass(frozen=True)
class TaskSettings:
    inputs: tuple[str, ...] = option(nargs='+', default=())
    place: PlaceSettings = group(PlaceSettings, 'where')
    count: int = option('-n', '--count', type=even, default=2, help='(default: %(default)s)')
    every: bool = option('--all', action='store_true', default=False, exclusive='which')
    first: bool = option('--first', action='store_true', default=False, exclusive='which')


def parse(*arguments: str) -> TaskSettings:
    parser = command.Parser('task')
    command.add_options(parser, TaskSettings)
    return command.settings(TaskSettings, parser.parse_args(arguments))


def test_options_become_settings():
    assert parse('a') == TaskSettings(inputs=('a',))
    assert parse('a', 'b', '-d', 'x', '--name', 'c', '--name', 'd', '-n', '4', '--all') == (
        TaskSettings(('a', 'b'), PlaceSettings(Path('x'), ('c', 'd')), 4, every=True)
    )
    assert parse('a') == TaskSettings(('a',)), 'lists of one parse have stayed for the next'


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


@pytest.mark.parametrize('written', ['mine.py', '{folder}/mine.py', 'mine'])
def test_a_module_is_imported_first(tmp_path, written):
    (tmp_path / 'mine.py').write_text('print("imported")\n')
    process = helpers.run(
        helpers.PROJECT / 'infer.py',
        '--import',
        written.format(folder=tmp_path),
        '--help',
        cwd=tmp_path,
    )
    assert process.stdout.startswith('imported\n'), process.stderr


def test_a_module_that_is_not_there(tmp_path):
    process = helpers.run('infer.py', '--import', 'nowhere.py', '-i', 'x.jpg')
    assert process.returncode == 2
    assert process.stderr == 'error: --import nowhere.py: there is no such module or file\n'
