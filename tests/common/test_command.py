"""Exit status and error messages of commands."""

import argparse
import os
import socket
import subprocess
import sys

import pytest

import datasets
import models
from common import command, launcher
from common.command import Parser, run_command
from common.errors import UserError
from support import programs


def run(main, capsys, *arguments):
    """Run a command and return its exit status and standard error."""
    status = run_command(lambda: Parser(prog='tool'), main, arguments)
    return status, capsys.readouterr().err


@pytest.mark.parametrize('kind', [UserError, models.ModelError, datasets.DataError])
def test_a_users_mistake_is_one_line_and_status_2(kind, capsys):
    def main(args):
        raise kind('this is wrong;\ndo that')

    assert run(main, capsys) == (2, 'error: this is wrong; do that\n')
    with pytest.raises(kind):
        run(main, capsys, '--debug')


@pytest.mark.parametrize('size', launcher.RANK_VARIABLES)
def test_rank_0_reports_an_error_before_the_others(size, capsys, monkeypatch):
    """An error of all ranks appears once, because the launcher ends the others after rank 0.

    An error of a single rank is reported by that rank.
    """

    def main(args):
        raise UserError('this is wrong')

    pauses = []
    monkeypatch.setattr(command.time, 'sleep', pauses.append)
    for name in (*launcher.RANK_VARIABLES, *launcher.RANK_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(size, '4')
    monkeypatch.setenv(launcher.RANK_VARIABLES[size], '0')
    assert run(main, capsys) == (2, 'error: this is wrong\n')
    assert pauses == []
    monkeypatch.setenv(launcher.RANK_VARIABLES[size], '3')
    line = f'error: this is wrong (rank 3 on {socket.gethostname()})\n'
    assert run(main, capsys) == (2, line)
    assert pauses == [launcher.RANK_0_HEAD_START_SECONDS]


@pytest.mark.parametrize(
    'error', [ValueError('a'), KeyError('b'), ModuleNotFoundError(name='d3net.x')]
)
def test_a_programming_error_keeps_its_traceback(error, capsys):
    def main(args):
        raise error

    with pytest.raises(type(error)):
        run(main, capsys)


def test_a_missing_package_says_how_to_install_it(capsys):
    def main(args):
        import no_such_package  # noqa: F401

    status, line = run(main, capsys)
    assert status == 2
    assert line == (
        'error: the package no_such_package is not installed; '
        'python3.10 -m pip install -r requirements.txt\n'
    )


def test_a_missing_package_on_another_python_names_the_right_one(capsys, monkeypatch):
    def main(args):
        monkeypatch.setattr(sys, 'version_info', (3, 12, 1))
        raise ModuleNotFoundError(name='nnabla')

    status, line = run(main, capsys)
    assert status == 2
    assert 'this is Python 3.12, NNabla has wheels up to 3.10: use .venv/bin/python' in line


def test_an_unknown_option_is_one_line(capsys):
    status, line = run(lambda args: 0, capsys, '--nonsense')
    assert status == 2
    assert line.count('\n') == 1
    assert line.startswith('error: unrecognized arguments: --nonsense; tool --help')


def test_ctrl_c_prints_no_traceback(capsys):
    def main(args):
        raise KeyboardInterrupt

    assert run(main, capsys) == (130, 'interrupted\n')


def test_the_status_of_main_is_returned(capsys):
    def main(args):
        assert isinstance(args, argparse.Namespace)
        return 1

    assert run(main, capsys) == (1, '')


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_closed_pipe_prints_no_traceback_and_keeps_the_status(unbuffered):
    """`tool | true` returns the status of main, or 141 if the output cannot be written."""
    program = (
        'import sys, time; from common.command import Parser, run_command\n'
        'def main(args):\n'
        '    time.sleep(0.3)\n'
        '    print("x" * int(sys.argv[1]))\n'
        '    return 1\n'
        'sys.exit(run_command(Parser, main, []))\n'
    )
    for size, statuses in (('10', (1, 141)), ('1000000', (141,))):
        process = subprocess.Popen(
            [sys.executable, '-c', program, size],
            cwd=programs.PROJECT,
            env={**os.environ, 'PYTHONUNBUFFERED': unbuffered},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) in statuses
        assert errors == b''
        process.stderr.close()


@pytest.mark.parametrize(
    'arguments',
    [
        ('-m', 'models.complexity', '--network', 'd3net_t'),
        ('infer.py', '-i', 'none.jpg'),
        *(
            pytest.param(arguments, marks=pytest.mark.whole_registry)
            for arguments in (
                ('-m', 'models', '--family', 'd3net'),
                ('-m', 'models.convert', '--network', 'd3net_t', '-i', 'none.pth', '-o', 'x.h5'),
                ('-m', 'engine.environment'),
                ('evaluate.py', '-d', 'none'),
                ('train.py', '-d', 'none'),
            )
        ),
    ],
)
def test_nnablas_log_at_its_import_is_not_shown(arguments):
    """Here for one program of each kind; programs.run checks it in all other tests."""
    process = programs.run(*arguments)
    assert process.returncode in (0, 2), process.stderr
    assert '[nnabla]' not in process.stdout + process.stderr
