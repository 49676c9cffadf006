"""Run programs of the project as a user does, and read their output."""

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
SCRIPTS = ('train.py', 'evaluate.py', 'infer.py')
SMALL_LIBRARY = importlib.util.find_spec('yaml._yaml').origin  # a small compiled module
# Skips tests of messages that appear only without the CUDA wheels, which `make cuda` installs.
without_cuda = pytest.mark.skipif(
    importlib.util.find_spec('nnabla_ext.cudnn') is not None, reason='CUDA is installed'
)
needs_nncf, needs_scikit_learn = (
    pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason='needs requirements-deploy.txt'
    )
    for package in ('nncf', 'sklearn')
)


@contextmanager
def full_disk(size):
    """Limit files to ``size`` bytes, which has nearly the effect of a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def run(*arguments, cwd=PROJECT, **environment):
    """Run a Python program of the project as a user does and return the finished process.

    Commands of the project must not show the messages that NNabla logs when it is imported.

    Args:
        *arguments: Arguments of the Python interpreter.
        cwd: Working directory.
        **environment: Additional environment variables.
    """
    process = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    if str(arguments[0]) == '-m' or Path(arguments[0]).name in SCRIPTS:
        assert '[nnabla]' not in process.stdout + process.stderr
    return process


def error_line(process, status=2):
    """Return the one line on standard error that reports a user's mistake."""
    assert process.returncode == status, process.stderr
    assert 'Traceback' not in process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, process.stderr
    return errors[0]
