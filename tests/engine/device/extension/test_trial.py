"""The import of the CUDA extension in a child process: each failure is one line, no crash."""

import sys

import pytest

from engine.device import extension, libraries
from engine.device.extension import UnusableError, importing, trial
from support import programs

PHOTO = programs.PROJECT / 'resources' / 'street.jpg'
SEGMENT = ('infer.py', '-i', PHOTO, '-cfg', 'configs/D3Net_T_camvid.yaml', '--scale', '0.1')


def test_a_crash_of_the_import_is_reported_in_one_line(installed, working_folder):
    crash = 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'
    variables = installed(crash)
    crashed = 'the import of nnabla_ext.cudnn ends with a segmentation fault: '

    automatic = programs.run(*SEGMENT, '-o', working_folder / 'a.jpg', **variables)
    assert automatic.returncode == 0, automatic.stderr
    assert f'running on the CPU ({crashed}' in automatic.stderr
    assert (working_folder / 'a.jpg').exists()

    use = 'from engine.device import context; context.use("cudnn")'
    requested = programs.run('-c', use, **variables)
    assert f'UserError: -c cudnn: {crashed}' in requested.stderr.splitlines()[-1]

    table = programs.run('-m', 'engine.environment', **variables)
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert any(line.startswith(f'communicator: is not registered: {crashed}') for line in lines)
    assert not list(working_folder.glob('nnseg-*'))


@pytest.mark.parametrize(
    ('code', 'problem'),
    [
        ('raise ImportError("libcudnn.so.8: cannot open shared object file")', 'libcudnn.so.8 is'),
        ('raise ValueError("Currently, it does not support your GPU.")', 'NNabla refuses the GPU'),
        ('import sys\nsys.exit(3)', 'ends with status 3'),
        ('len(None)', "ends with status 1: TypeError: object of type 'NoneType' has no len()"),
        ('import no_such_package', "No module named 'no_such_package'"),
        ('raise ImportError("/x/libnnabla_cuda.so: undefined symbol: f")', 'undefined symbol: f'),
        ('import ctypes\nctypes.CDLL("libnvidia-x.so.1")', 'libnvidia-x.so.1 is missing'),
        ('import os\nos.kill(os.getpid(), 4)', 'ends with an illegal instruction'),
        ('import os\nos.kill(os.getpid(), 40)', 'ends with the signal 40'),
    ],
)
def test_a_failing_import_is_reported_in_one_line(code, problem, installed, monkeypatch):
    for name, value in installed(code).items():
        monkeypatch.setenv(name, value)
    found = trial._run_child(False).problem
    assert problem in found
    assert '\n' not in found


def test_an_error_of_the_system_is_not_blamed_on_the_wheels(installed, monkeypatch):
    for name, value in installed("raise OSError(28, 'No space left on device')\n").items():
        monkeypatch.setenv(name, value)
    found = trial._run_child(False).problem
    assert found.endswith('cannot be imported: [Errno 28] No space left on device')


def test_a_hanging_import_is_reported_in_one_line(installed, monkeypatch):
    for name, value in installed('import time\ntime.sleep(60)').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trial, 'CHILD_SECONDS', 2)
    assert trial._run_child(False).problem == (
        'the import of nnabla_ext.cudnn takes more than 2 seconds'
    )


@programs.without_cuda
def test_a_missing_extension_is_detected_without_a_child(monkeypatch):
    monkeypatch.setattr(trial, '_run_child', lambda are_global: pytest.fail('a child was started'))
    monkeypatch.delitem(sys.modules, importing.MODULE, raising=False)
    with pytest.raises(UnusableError, match='nnabla-ext-cuda120 is not installed'):
        extension.load()
    assert libraries.file_of_function(None, 'MPI_Init') is None
