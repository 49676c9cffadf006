"""A stand-in for NNabla's CUDA extension and for the driver."""

import os
import shutil

import pytest

from engine.device.extension import findings as cached_findings
from support import programs


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs an extension of Python code, and a driver without functions.

    The function returns the environment variables for a program that uses them.
    """
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    (tmp_path / 'driver').mkdir()
    shutil.copy(programs.SMALL_LIBRARY, tmp_path / 'driver' / cached_findings.DRIVER)

    def install(code):
        package = tmp_path / 'packages' / 'nnabla_ext' / 'cudnn'
        package.mkdir(parents=True, exist_ok=True)
        (package / '__init__.py').write_text(code)
        return {
            'PYTHONPATH': f'{tmp_path / "packages"}{os.pathsep}{programs.PROJECT}',
            'LD_LIBRARY_PATH': str(tmp_path / 'driver'),
            'TMPDIR': str(tmp_path),
        }

    return install
