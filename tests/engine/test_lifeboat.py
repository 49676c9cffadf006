"""The cases of lifeboat_cases.py, in a process of their own.

They fork. In a process that has run other tests, a fork inherits what those have left: garbage
whose destruction waits for threads that a fork does not have.
"""

import subprocess
import sys

import helpers

SECONDS = 250


def test_cases():
    process = subprocess.run(
        [sys.executable, '-m', 'pytest', '-n', '0', '-p', 'no:cacheprovider', '-v',
         'tests/engine/lifeboat_cases.py'],
        cwd=helpers.PROJECT, capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout
    assert ' passed' in process.stdout
