"""Control characters of names and contents reach neither a terminal nor a log."""

import io
import logging
import os
import sys
import unicodedata
from pathlib import Path

import pytest

from common import log, once
from common.errors import InputError
from common.terminal import streams, tables
from common.terminal.printable import one_line, printable
from support import programs, terminals

HOSTILE = 'a\x1b[31mred\x07\x9b2J\x7f\u202egpj.\u2028z\udc9b\r'
SHOWN = r'a\x1b[31mred\x07\x9b2J\x7f\u202egpj.\u2028z\udc9b\r'
TURNING = {'LRE', 'RLE', 'PDF', 'LRO', 'RLO', 'LRI', 'RLI', 'FSI', 'PDI'}  # directions of text
LANGUAGES = 'Straße 道路 طريق דרך ถนน 👩\u200d🚒 🏴\U000e0067\U000e007f é é'

# Prints, logs, warns and fails with a hostile name, in the ways of the project and of libraries.
PROGRAM = """
import logging, sys, threading, warnings
from pathlib import Path
from common import once
from common.command import Parser, run_command
from common.errors import UserError
from common.log import LOG
from common.terminal.progress import ProgressBar

NAME = {name!r}

def main(args):
    print(NAME, args.text)
    LOG.info('%s and %s', NAME, Path(NAME + chr(10) + 'forged'))
    logging.getLogger('library').warning(NAME)
    warnings.warn(NAME)
    once.warn('a', NAME)
    def fail():
        raise ValueError(NAME)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    with ProgressBar(range(2), NAME, mininterval=0) as bar:
        for each in bar:
            bar.write(NAME)
    if args.text == 'mistake':
        raise UserError(NAME)
    raise ValueError(NAME)

def build():
    parser = Parser(NAME, description=NAME)
    parser.add_argument('text', choices=['mistake', 'fault'])
    return parser

sys.exit(run_command(build, main, sys.argv[1:]))
"""


def shown_on_terminal(tmp_path, *arguments):
    """Return what the program shows on a terminal."""
    (tmp_path / 'program.py').write_text(PROGRAM.format(name=HOSTILE))
    environment = {**os.environ, 'PYTHONPATH': str(programs.PROJECT)}
    command = [sys.executable, str(tmp_path / 'program.py'), *arguments]
    return terminals.run_on_terminal(command, ('stdout', 'stderr'), env=environment)[1]


@pytest.mark.parametrize(
    ('arguments', 'times'), [(['mistake'], 9), (['fault'], 9), (['--help'], 2), (['\x1b[2J'], 1)]
)
def test_a_terminal_shows_escapes_only(arguments, times, tmp_path):
    text = shown_on_terminal(tmp_path, *arguments)
    found = {sign for sign in text if unicodedata.category(sign) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')}
    assert found <= {'\n', '\r'}  # the terminal adds \r to a line, and a progress bar prints it
    assert text.count(r'\x1b[31m') >= times or r'\x1b[2J' in text
    assert '\nforged' not in text
    assert ('error: ' in text) == (arguments != ['fault'] and arguments != ['--help'])


def test_what_is_escaped_and_what_stays():
    assert printable(HOSTILE) == SHOWN
    assert printable(SHOWN) == SHOWN
    assert printable(f'{LANGUAGES}\n\t~') == f'{LANGUAGES}\n\t~'
    assert one_line(Path('a\nb\tc')) == r'a\nb\tc'
    for code in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(code))
        turns = unicodedata.bidirectional(chr(code)) in TURNING
        if kind in ('Cc', 'Cs', 'Zl', 'Zp') or turns:
            assert (printable(chr(code)) == chr(code)) == (chr(code) in '\n\t')
        elif kind[0] in 'LMNPS':
            assert printable(chr(code)) == chr(code)


def test_messages_of_mistakes_are_printable():
    assert str(InputError("rm 'a  b\tc'\n  d\n")) == r"rm 'a  b\tc' d"
    assert str(InputError(f'{HOSTILE}\nb')) == f'{SHOWN[:-2]} b'.replace(r'\u2028', ' ')


def test_the_log_is_printable(monkeypatch):
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(log.PrintableFormatter())
    monkeypatch.setattr(log.LOG, 'handlers', [handler])
    monkeypatch.setattr(log.LOG, 'propagate', False)  # pytest cannot store text that is no UTF-8
    log.LOG.warning('%s %s\n%d', HOSTILE, Path('x\ny'), 1)
    assert text.getvalue() == f'{SHOWN} x\\ny\n1\n'
    once.reset()
    once.warn('test', HOSTILE)
    once.reset()
    assert text.getvalue().count(r'\x1b') == 2
    assert '\x1b' not in text.getvalue()


def test_tables_are_aligned_by_what_they_show():
    rows = [['\x1b[2Ja\nb', '1'], ['c', '2']]
    lines = tables.lines([tables.Column(), tables.Column(right=True)], rows)
    assert lines == [r'\x1b[2Ja\nb  1', r'c            2']
    assert r'\x1b[2Ja\nb' in tables.markdown([tables.Column('x'), tables.Column()], rows)[2]


def test_a_progress_bar_alone_moves_the_cursor(capsys):
    with streams.guarded(), streams.guarded():  # as in a command that calls another one
        raw = streams.unfiltered(sys.stderr)
        raw.write('\r')
        sys.stderr.write('\r')
        assert raw == sys.stderr and raw.encoding == sys.stderr.encoding
    assert capsys.readouterr().err == '\r\\r'
