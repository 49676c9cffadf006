"""The map in worker processes: order, exceptions, and killed workers."""

import os
import subprocess
import sys

import pytest

from common import process_map
from common.errors import UserError
from common.process_map import map_samples
from datasets import Dataset, DatasetInfo, Sample
from support import programs


@pytest.fixture
def numbered(tmp_path):
    """A data set of 50 samples whose files do not exist."""
    samples = tuple(Sample(str(number), tmp_path / str(number), None) for number in range(50))
    return Dataset(DatasetInfo('none', ('a',), ((0, 0, 0),)), 'train', samples, str)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module with functions that worker processes can import."""
    (tmp_path / 'work_of_test.py').write_text(
        'import os, time\n'
        'def name(dataset, index):\n'
        '    time.sleep(0.01 * (index % 3))\n'
        '    return dataset[index].name\n'
        'def fail(dataset, index):\n'
        '    if index == 30:\n'
        '        raise LookupError(dataset[index].name)\n'
        'def die(dataset, index):\n'
        '    if index == 30:\n'
        '        os.kill(os.getpid(), 9)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__('work_of_test')
    del sys.modules['work_of_test']


@pytest.mark.parametrize('processes', [1, 3])
def test_results_come_in_order(processes, numbered, work):
    found = list(map_samples(numbered, work.name, processes, 'naming'))
    assert found == [str(number) for number in range(50)]


def test_a_line_precedes_many_files(numbered, work, caplog, monkeypatch):
    caplog.set_level('INFO')
    next(map_samples(numbered, work.name, 1, 'naming'))
    assert not caplog.messages
    monkeypatch.setattr(process_map, 'MANY_FILES', 50)
    next(map_samples(numbered, work.name, 1, 'naming'))
    assert caplog.messages == ['naming 50 files']


@pytest.mark.parametrize('processes', [1, 2])
def test_an_exception_in_a_worker_reaches_the_caller(processes, numbered, work):
    with pytest.raises(LookupError, match='30'):
        list(map_samples(numbered, work.fail, processes, 'failing'))


def test_a_killed_worker_is_reported(numbered, work):
    with pytest.raises(UserError, match='worker process was killed.*--processes'):
        list(map_samples(numbered, work.die, 2, 'dying'))


def test_workers_do_not_run_the_main_program():
    """A script without a guard would train again; a program from standard input has no file."""
    program = (
        'import operator\n'
        'from common.process_map import map_samples\n'
        'print(list(map_samples("abc", operator.getitem, 2, "reading")))\n'
    )
    process = subprocess.run(
        [sys.executable, '-'],
        input=program,
        capture_output=True,
        text=True,
        env=os.environ | {'PYTHONPATH': str(programs.PROJECT)},
    )
    assert (process.stdout, process.returncode) == ("['a', 'b', 'c']\n", 0), process.stderr
