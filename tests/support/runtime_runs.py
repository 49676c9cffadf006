"""Runs of runtime/segment.py, in this process and in one that has its packages alone."""

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

from runtime import segment
from support.programs import PROJECT

SEGMENT = PROJECT / 'runtime' / 'segment.py'
PACKAGES = ('numpy', 'cv2', 'onnxruntime', 'openvino')
# What the child cannot import: NNabla, the project, and what these need.
MISSING = (
    'nnabla', 'common', 'layers', 'd3net', 'models', 'datasets', 'engine', 'benchmarks', 'runtime',
    'infer', 'PIL', 'yaml', 'h5py', 'onnx', 'tqdm', 'pip',
)  # fmt: skip
CHILD = """
import importlib.util, runpy, sys
packages, missing, *sys.argv = sys.argv[1:]
missing = missing.split()
sys.path.append(packages)
found = [name for name in missing if importlib.util.find_spec(name)]
assert not found, f'the environment has {found}'
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    loaded = set(missing) & set(sys.modules)
    assert not loaded, f'imported {loaded}'
"""
# Takes the place of the package with which openvino sends its use, and ends a process with it.
TELEMETRY = "raise SystemExit('openvino_telemetry was imported')\n"


def packages_alone(folder):
    """Fill a folder with links to the packages that segment.py needs; return it."""
    folder.mkdir()
    for name in PACKAGES:
        package = Path(util.find_spec(name).origin).parent
        (folder / name).symlink_to(package)
        for libraries in package.parent.glob(f'{name}.libs'):
            (folder / libraries.name).symlink_to(libraries)
    for libraries in Path(util.find_spec('cv2').origin).parent.parent.glob('opencv*.libs'):
        (folder / libraries.name).symlink_to(libraries)
    (folder / 'openvino_telemetry.py').write_text(TELEMETRY)
    return folder


def alone(packages, *arguments, program=SEGMENT):
    """Run segment.py where nothing can be imported but the standard library and its packages.

    Args:
        packages: Folder of :func:`packages_alone`.
        *arguments: Arguments of segment.py.
        program: Another program to run in its place.
    """
    return subprocess.run(
        [sys.executable, '-I', '-S', '-B', '-c', CHILD, packages, ' '.join(MISSING), program]
        + [str(a) for a in arguments],
        env={'PATH': os.environ['PATH'], 'HOME': packages},
        capture_output=True,
        text=True,
        timeout=240,
    )


def started(*arguments):
    """Run segment.py in this process, with ONNX Runtime and one thread; return the exit status."""
    chosen = [] if '--runtime' in arguments else ['--runtime', 'onnxruntime']
    return segment.main([str(a) for a in arguments] + chosen + ['--threads', '1'])


def refused(capsys, *arguments):
    """Run segment.py, assert that it fails with status 2, and return its only line."""
    assert started(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ''
    (line,) = output.err.splitlines()
    assert line.startswith('error: ')
    return line
