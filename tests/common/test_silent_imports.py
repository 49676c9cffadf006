"""Nothing is sent, and nothing is written outside the cache folder and the outputs."""

import stat
import subprocess
import sys
from importlib import metadata

import pytest

from common import silent_imports
from support import programs

FROM_PROJECT = {'PYTHONPATH': str(programs.PROJECT)}
WATCHED = programs.PROJECT / 'tests' / 'support' / 'watched_commands.py'


@pytest.mark.long
def test_commands_send_nothing_and_leave_the_home_folder_alone(tmp_path):
    """The environment has no CI, with which openvino is silent by itself."""
    folders = {name: tmp_path / name for name in ('work', 'home', 'tmp')}
    for folder in folders.values():
        folder.mkdir()
    environment = {'HOME': folders['home'], 'TMPDIR': folders['tmp'], 'PATH': '/usr/bin:/bin'}
    process = subprocess.run(
        [sys.executable, '-B', WATCHED, tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'refused').read_text() == ''
    written = [path.relative_to(folders['home']) for path in folders['home'].rglob('*')]
    assert {path.parts[:2] for path in written} == {('.cache',), ('.cache', 'nnseg')}
    kept = {path.parts[2] for path in written if len(path.parts) > 2}
    assert kept == {'backends', 'labels', 'matplotlib'}
    assert not any(stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folders['home'].rglob('*'))
    assert list(folders['tmp'].iterdir()) == []
    assert (folders['work'] / 'run' / 'report.png').stat().st_size > 0


def test_the_telemetry_of_openvino_is_installed_and_cannot_be_imported():
    """Without the package there would be nothing to turn off, and this module could go."""
    assert metadata.version('openvino-telemetry')
    assert silent_imports.load('openvino').Core is not None
    with pytest.raises(ModuleNotFoundError):
        __import__('openvino_telemetry')


@pytest.mark.parametrize(
    'backend', ['module://matplotlib_inline.backend_inline', 'nonsense', 'svg']
)
def test_figures_are_drawn_whatever_shows_those_of_a_notebook(tmp_path, backend):
    """A notebook's kernel names its backend in the environment of the commands in its cells."""
    program = (
        'from pathlib import Path; from common import figures; figure = figures.new(1, 1); '
        'figure.suptitle("a", color="red"); figures.write(Path("a.png"), figure); '
        'import os, matplotlib; print(os.environ["MPLBACKEND"], matplotlib.rcParams["backend"])'
    )
    process = programs.run('-c', program, cwd=tmp_path, MPLBACKEND=backend, **FROM_PROJECT)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'a.png').stat().st_size > 100
    assert (backend == 'svg') == (process.stdout == 'svg svg\n')  # a program keeps its own


@pytest.mark.parametrize('package', ['openvino', 'nncf', 'matplotlib'])
def test_lint_refuses_other_imports(package):
    for line in (f'import {package}', f'from {package} import Figure'):
        process = subprocess.run(
            [sys.executable, '-m', 'ruff', 'check', '--stdin-filename', 'engine/a.py', '-'],
            input=f'"""A module."""\n\n{line}  # noqa: F401\n',
            cwd=programs.PROJECT,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 1, line
        assert 'TID25' in process.stdout, process.stdout
