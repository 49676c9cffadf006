"""Removed options of infer.py and evaluate.py."""

import pytest

import evaluate
import infer
from common.command import run_command
from engine import options

COMMANDS = {'infer.py': infer, 'evaluate.py': evaluate}
REMOVED = [
    (command, option, successor)
    for option, commands, successor in options.REMOVED_OPTIONS
    for command in commands
]


def refused(command, capsys, *arguments):
    """Run a command that fails with status 2 and return its error line."""
    program = COMMANDS[command]
    assert run_command(program.build_parser, program.main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize('value', [(), ('4',)])
@pytest.mark.parametrize('command, option, successor', REMOVED)
def test_a_removed_option_names_its_successor(command, option, successor, value, capsys):
    line = refused(command, capsys, option, *value)
    assert line == f'error: {option} was removed: {successor}'


def test_the_option_processes_names_mpirun_or_threads(capsys):
    assert 'mpirun -n N python evaluate.py' in refused('evaluate.py', capsys, '--processes=2')
    line = refused('infer.py', capsys, '-i', 'a.png', '--processes', '2')
    assert 'use all cores by themselves' in line
    assert '--threads' in line


@pytest.mark.parametrize('command', COMMANDS)
def test_help_lists_no_removed_option(command, monkeypatch):
    """A command also does not accept options that only another one had."""
    rows = (
        ('--old', ('infer.py', 'evaluate.py'), 'use --new'),
        ('--elsewhere', ('train.py',), 'use --new'),
    )
    monkeypatch.setattr(options, 'REMOVED_OPTIONS', rows)
    parser = COMMANDS[command].build_parser()
    words = parser.format_help().split()
    assert '--threads' in words
    assert not {'--old', '--elsewhere'} & set(words)
    assert parser.parse_known_args(['-i', 'a.png', '--elsewhere'])[1][-1:] == ['--elsewhere']
