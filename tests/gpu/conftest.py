"""Fixtures of the tests on GPUs, and the table of their results.

Run with `make test-gpu` on a machine with one or more GPUs; see support/gpu_tests.py.
"""

import json
import os
from pathlib import Path

import pytest

from common import machine
from engine.device import context
from support.gpu_tests import DEVICE, REHEARSED

RESULTS = 'gpu_tests.json'

_rows = []


@pytest.fixture(scope='session', autouse=True)
def require_gpu():
    """End the tests if there is no GPU."""
    reason = None if REHEARSED else context.why_no_gpu()
    if reason:
        pytest.exit(f'no GPU to test: {reason}', returncode=1)


@pytest.fixture(autouse=True)
def free_memory(clean_nnabla):
    """Free NNabla's memory caches after each test."""
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
    (folder / RESULTS).write_text(json.dumps({'machine': facts, 'tests': _rows}, indent=1))
    terminalreporter.write_line(f'{facts["GPU"]}; {facts["packages"]}; {folder / RESULTS}')
