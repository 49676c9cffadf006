"""What the tests on GPUs share: where they run, and the table of what they found.

``REHEARSE=1`` takes the CPU for the GPU, as far as one can, so that the tests themselves can be
tried where there is none.
"""

import json
import os
from pathlib import Path

import pytest

from common import machine
from engine.device import context

REHEARSED = bool(os.environ.get('REHEARSE'))
DEVICE = 'cpu' if REHEARSED else 'cudnn'
TYPES = ('float',) if REHEARSED else ('float', 'half')
NAME = 'gpu_tests.json'

_rows = []


@pytest.fixture(scope='session', autouse=True)
def a_gpu_is_there():
    """Without one nothing is proved."""
    reason = None if REHEARSED else context.why_no_gpu()
    if reason:
        pytest.exit(f'no GPU to test: {reason}', returncode=1)


@pytest.fixture(autouse=True)
def free_memory(clean_nnabla):
    """What a test leaves in NNabla's memory caches is freed."""
    yield
    context.release_cached_memory(context.use(DEVICE))


def pytest_runtest_logreport(report):
    if report.when == 'call' or report.outcome != 'passed':
        name = report.nodeid.partition('::')[2].removeprefix('test_').replace('_', ' ')
        figures = dict(report.user_properties)
        _rows.append({'test': name, 'outcome': report.outcome, **figures} | _seconds(report))


def _seconds(report) -> dict:
    return {'seconds': round(report.duration, 1)}


def pytest_terminal_summary(terminalreporter):
    if not _rows:
        return
    facts = machine.describe() | {'device': DEVICE}
    for row in _rows:
        figures = ', '.join(
            f'{key} {value}'
            for key, value in row.items()
            if key not in ('test', 'outcome', 'seconds')
        )
        terminalreporter.write_line(
            f'{row["test"]:62} {row["outcome"]:8} {row["seconds"]:6.1f} s  {figures}'
        )
    folder = Path(os.environ.get('OUT') or 'results')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(json.dumps({'machine': facts, 'tests': _rows}, indent=1))
    terminalreporter.write_line(f'{facts["GPU"]}; {facts["packages"]}; {folder / NAME}')
