"""Run the project's programs as a user does, and read what they print."""

import importlib.util
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
SMALL_LIBRARY = importlib.util.find_spec('yaml._yaml').origin  # a file of its own in every Python
# Tests of messages that appear only where the CUDA wheels are absent; `make cuda` installs them.
without_cuda = pytest.mark.skipif(
    importlib.util.find_spec('nnabla_ext.cudnn') is not None, reason='CUDA is installed'
)


@contextmanager
def full_disk(size):
    """Files cannot grow beyond ``size`` bytes: what happens when a disk is full, near enough."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def run(*arguments, cwd=PROJECT, **environment):
    """Run a Python program of the project as a user does; returns the finished process."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def error_line(process, status=2):
    """The one line on standard error with which a command ends a user's mistake."""
    assert process.returncode == status, process.stderr
    assert 'Traceback' not in process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, process.stderr
    return errors[0]
