"""Packages whose public names are imported on first use."""

import subprocess
import sys

import pytest

from support import programs

COMMANDS = [
    ('infer.py',),
    ('evaluate.py',),
    ('train.py',),
    *(('-m', f'engine.{name}') for name in ('config', 'environment', 'export', 'report')),
]


@pytest.mark.parametrize('command', COMMANDS)
def test_help_loads_neither_nnabla_nor_opencv(command):
    process = subprocess.run(
        [sys.executable, '-X', 'importtime', *command, '--help'],
        cwd=programs.PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0
    loaded = {line.split('|')[-1].strip() for line in process.stderr.splitlines()}
    assert 'common.command' in loaded
    assert not {'nnabla', 'cv2'} & loaded


def test_public_names_resolve():
    import engine
    from engine.inference.predictor import Predictor

    assert engine.Predictor is Predictor
    for name in set(engine.__all__) - {'__version__'}:
        assert getattr(engine, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'engine' has no attribute 'nothing'"):
        engine.nothing  # noqa: B018
