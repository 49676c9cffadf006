"""Peak memory of a process, alone and with its children."""

import subprocess
import sys

import pytest

from benchmarks.memory import peak_mib
from support import programs

pytestmark = pytest.mark.bench


def test_memory_of_children_is_included():
    """A child that fills 100 MiB, compared with one that fills none."""

    def child(mib):
        fill = f'x = bytearray({mib} << 20); import time; time.sleep(0.4)'
        return lambda: subprocess.run([sys.executable, '-S', '-c', fill], check=True)

    assert 90 < peak_mib(child(100)) - peak_mib(child(0)) < 115


def test_own_peak_outlasts_the_memory_and_excludes_the_parent():
    code = 'from benchmarks.memory import own_peak_mib; before = own_peak_mib()\n'
    code += 'x = bytearray(300 << 20); del x; print(before, own_peak_mib())'
    before, after = map(float, programs.run('-c', code).stdout.split())
    assert before < 50
    assert 295 < after - before < 310
