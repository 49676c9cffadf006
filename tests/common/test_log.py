"""The log of a command: bare lines on standard error, whatever was imported before."""

import logging

import pytest

from common import log
from support import programs

# NNabla sets up Python's logging when it is imported, with a prefix for every line.
FIRST = {'nothing': '', 'NNabla': 'import nnabla\n'}
CHILD = """
import common
{first}from common import log
for _ in range(2):
    log.set_up(debug=False)
log.LOG.info('a line')
"""


@pytest.mark.parametrize('first', FIRST)
def test_lines_have_no_prefix(first, tmp_path):
    process = programs.run('-c', CHILD.format(first=FIRST[first]), cwd=tmp_path,
                           PYTHONPATH=str(programs.PROJECT))  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stderr == 'a line\n'


def test_handlers_of_a_program_stay(monkeypatch, tmp_path):
    own = logging.FileHandler(tmp_path / 'own.log')
    monkeypatch.setattr(logging.root, 'handlers', [own])
    log.set_up(debug=False)
    assert logging.root.handlers == [own]
