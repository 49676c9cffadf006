"""The set-up of a worker process, tested in a child process."""

import signal
import subprocess
import sys

import pytest

from common import PROJECT
from support import programs

PROGRAM = """
import os, signal, cv2
from common.worker import become_worker
become_worker({arguments})
print(cv2.getNumThreads(), flush=True)
os.kill(os.getpid(), signal.{sent})
print('still there')
"""
BOTH = '(signal.SIGINT, signal.SIGTERM)'


def output_after_signal(sent, arguments=''):
    """Return the exit status and the output of a worker that sends itself a signal."""
    program = PROGRAM.format(sent=sent, arguments=arguments)
    child = subprocess.run([sys.executable, '-c', program], cwd=PROJECT, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    return child.returncode, child.stdout.split('\n', 1)


@pytest.mark.parametrize(
    ('sent', 'arguments'), [('SIGINT', ''), ('SIGINT', BOTH), ('SIGTERM', BOTH)]
)
def test_a_worker_has_one_opencv_thread_and_ignores_signals(sent, arguments):
    assert output_after_signal(sent, arguments) == (0, ['1', 'still there\n'])


def test_a_pool_can_terminate_its_workers():
    assert output_after_signal('SIGTERM') == (-signal.SIGTERM, ['1', ''])


def test_a_worker_hides_warnings_of_pillow():
    program = (
        'import warnings; from common.worker import become_worker; become_worker()\n'
        'for module in "PIL.TiffImagePlugin", "numpy.lib":\n'
        '    warnings.warn_explicit(f"of {module}", UserWarning, "a.py", 1, module)'
    )
    process = programs.run('-c', program)
    assert 'of numpy.lib' in process.stderr
    assert 'of PIL' not in process.stderr
