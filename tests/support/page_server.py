"""Start the server of the page, as a user does."""

import re
import subprocess
import sys
from contextlib import contextmanager

from support.programs import PROJECT


@contextmanager
def serving(*options):
    """Run ``python -m engine.serve`` on a free port, and yield its address."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'engine.serve', '--port', '0', *map(str, options)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield re.search(r' on (http://\S+)', process.stdout.readline()).group(1)
    finally:
        process.terminate()
        process.communicate(timeout=60)
