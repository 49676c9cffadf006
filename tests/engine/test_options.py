"""Options of several commands: removed ones, and those with several values."""

import pytest

import evaluate
import infer
import train
from common.command import run_command, settings
from engine import options
from engine.config import __main__ as config_command
from engine.config.settings import ConfigSettings
from engine.export import __main__ as export_command

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


@pytest.mark.parametrize('program', [infer, evaluate, train, export_command, config_command])
def test_set_takes_several_overrides_and_may_be_repeated(program):
    arguments = ['--set', 'lr=0.5', 'classes=[a, b]', '-cfg', 'x.yaml', '--set', 'num_classes=2']
    required = {infer: ['-i', 'a.png', 'b.png'], export_command: ['-o', 'x.onnx']}
    args = program.build_parser().parse_args([*arguments, *required.get(program, [])])
    chosen = settings(ConfigSettings, args)
    assert chosen == ConfigSettings('x.yaml', ('lr=0.5', 'classes=[a, b]', 'num_classes=2'))


def test_inputs_are_not_lost_when_their_option_is_repeated(capsys):
    args = infer.build_parser().parse_args(['-i', 'a.png', 'b.png', '--flip', '-i', 'c.png'])
    assert args.inputs == ['a.png', 'b.png', 'c.png']
    line = refused('infer.py', capsys, '-i', 'a.png', '--set', 'lr=1', 'b.png')
    assert line == 'error: --set b.png: write it as key=value'
