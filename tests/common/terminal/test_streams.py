"""Output that cannot be printed: closed streams, full disks, closed pipes, other encodings."""

import functools
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import command, files
from common.terminal import streams
from support import programs

# Writes a file, prints what its options say, and returns the status of its last option.
PROGRAM = """
import argparse, contextlib, os, sys
from common.command import Parser, run_command
from common.log import LOG

def build():
    parser = Parser(prog='tool', description='Straße')
    parser.add_argument('file')
    parser.add_argument('status', type=int)
    return parser

def library():
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.write(number, b'of a library')

def main(args):
    LOG.warning('道路 %s', args.file)
    print('Straße \\udce9', args.file)
    sys.stdout.flush()
    with open(args.file, 'w', encoding='utf-8') as file:
        library()
        file.write('whole')
    print('x' * 100_000)
    with open(args.file, 'a', encoding='utf-8') as file:
        library()
        file.write(' file')
    return args.status

sys.exit(run_command(build, main))
"""


def shell(tmp_path, redirection, status=0, **environment):
    """Run the program with a redirection of the shell; return status and standard error."""
    target = tmp_path / 'result'
    target.unlink(missing_ok=True)
    (tmp_path / 'program.py').write_text(PROGRAM, encoding='utf-8')
    process = subprocess.run(
        ['bash', '-c', f'{sys.executable} "$@" {redirection}; exit ${{PIPESTATUS[0]}}', 'bash',
         tmp_path / 'program.py', target, str(status)],
        env={**os.environ, 'PYTHONPATH': str(programs.PROJECT), **environment},
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    assert target.read_text(encoding='utf-8') == 'whole file'
    assert b'Traceback' not in process.stderr
    assert b'Exception ignored' not in process.stderr
    assert b'Logging error' not in process.stderr
    return process


@pytest.mark.parametrize(
    ('redirection', 'status', 'expected'),
    [
        ('>&-', 0, 0),
        ('<&- >&- 2>&-', 1, 1),
        ('2>/dev/full', 0, 0),
        ('>/dev/full', 0, 2),
        ('>/dev/full 2>&1', 1, 2),
        ('| true', 0, 141),
        ('2>&1 | true', 1, 141),
        ('>/dev/full', 143, 143),
    ],
)
def test_a_command_writes_its_files_whatever_fails_in_printing(
    redirection, status, expected, tmp_path
):
    process = shell(tmp_path, redirection, status)
    assert process.returncode == expected
    errors = [line for line in process.stderr.splitlines() if b'error: ' in line]
    if redirection == '>/dev/full' and not status:
        (line,) = errors
        assert (
            b'error: standard output: cannot be written (No space left on device); the files'
            in line
        )
    else:
        assert not errors


def test_what_an_encoding_lacks_is_printed_as_escapes(tmp_path):
    process = shell(tmp_path, '', PYTHONIOENCODING='ascii')
    assert process.returncode == 0
    assert process.stdout.startswith(rb'Stra\xdfe \udce9 ')
    assert process.stderr.startswith(rb'\u9053\u8def ')
    in_c = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    assert shell(tmp_path, '', **in_c).stdout.startswith(rb'Stra\xdfe ')
    text = shell(tmp_path, '', PYTHONIOENCODING='latin-1').stdout
    assert text.startswith('Straße \\udce9 '.encode('latin-1'))


def test_a_report_into_a_closed_pipe_ends_quietly(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    report = Path(f'/dev/fd/{writer}')
    parser = functools.partial(command.Parser, 'tool')
    assert command.run_command(parser, lambda args: files.write_json(report, {}), []) == 141
    os.close(writer)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize(('redirection', 'status'), [('>/dev/full', 2), ('| true', 141)])
def test_help_that_cannot_be_printed(redirection, status):
    process = subprocess.run(
        ['bash', '-c', f'{sys.executable} train.py --help {redirection}; exit ${{PIPESTATUS[0]}}'],
        cwd=programs.PROJECT,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        capture_output=True,
        text=True,
    )
    assert process.returncode == status
    assert process.stderr.count('\n') == (status == 2)


def test_a_guard_passes_on_all_but_writing():
    inner = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
    stream = streams.GuardedStream(inner)
    assert (stream.encoding, stream.isatty()) == ('ascii', False)
    assert stream.write('ä') == 1
    stream.writelines(['b', 'c'])
    stream.flush()
    assert inner.buffer.getvalue() == rb'\xe4bc'
    assert stream.failure is None
    inner.close()
    stream.write('d')
    stream.flush()
    stream.finish()
    assert 'closed file' in str(stream.failure)


def test_streams_return_after_the_block(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)  # what Python does with a closed descriptor
    errors = sys.stderr
    with streams.guarded() as output:
        print('lost')
        assert not streams.output_is_lost()
        output.failure = OSError()
        assert streams.output_is_lost()
    assert sys.stdout is None
    assert sys.stderr is errors
    assert not streams.output_is_lost()
