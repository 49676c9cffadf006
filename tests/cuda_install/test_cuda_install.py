"""The real CUDA extension in a fresh environment, with a driver that does nothing.

The extension must load and find MPI and NCCL. Run with `make test-cuda-install`; this needs gcc, nm
and 5 GB for the environment.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import programs
from tests.cuda_install import driver

pytestmark = [pytest.mark.cuda_install, pytest.mark.timeout(1800)]

REQUIREMENTS = ('requirements.txt', 'requirements-cuda.txt')
REGISTERED = 'communicator: is registered for cuda:float, cuda:half'
IMPORT_GLOBALLY = """
import os, sys
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
from mpi4py import MPI
sys.setdlopenflags(os.RTLD_NOW)
"""
LOAD = """
import json, os, sys
from engine.device import extension, libraries
from engine.device.extension import importing
before = dict(os.environ), sys.getdlopenflags()
extension.load()
found = {
    'restored': (dict(os.environ), sys.getdlopenflags()) == before,
    'global': [libraries.file_of_function(None, f) for f in importing.SYMBOLS.values()],
}
"""
REPORT = """
import nnabla as nn
from mpi4py import MPI
for kind in ('float', 'half'):
    extension.create_communicator(nn.Context(['cuda:' + kind], 'CudaCachedArray', '0'))
own = importing.library_path()
found['mpi4py'] = importing.mpi_of_mpi4py(MPI)[0]
found['libmpi'] = libraries.file_behind_pointer(own, 'MPI_Init')
found['libnccl'] = libraries.file_behind_pointer(own, 'ncclCommInitRank')
lines = open('/proc/self/maps').read().splitlines()
found['loaded'] = sorted({line.split()[-1] for line in lines if '/libmpi.so' in line})
found['size'] = MPI.COMM_WORLD.size
print(json.dumps(found), flush=True)
"""
PROGRAMS = {
    'alone': LOAD + REPORT,
    'after mpi4py': 'from mpi4py import MPI' + LOAD + REPORT,
    'before mpi4py': LOAD + 'from mpi4py import MPI' + REPORT,
    'after a global mpi4py': IMPORT_GLOBALLY + LOAD + REPORT,
    'before a global mpi4py': LOAD + IMPORT_GLOBALLY + REPORT,
}
# An earlier solution of the project: libraries with global symbols, loaded before the extension.
GLOBAL_LIBRARIES = """
import ctypes, sys
from mpi4py import MPI
from engine.device.extension import importing
ctypes.CDLL(importing.mpi_of_mpi4py(MPI)[0], mode=ctypes.RTLD_GLOBAL)
"""


class Environment:
    """An environment with requirements-cuda.txt and the stand-in for the driver."""

    def __init__(self, folder: Path):
        self.bin, self.home = folder / 'venv' / 'bin', folder
        subprocess.run([sys.executable, '-m', 'venv', folder / 'venv'], check=True)
        files = [part for name in REQUIREMENTS for part in ('-r', programs.PROJECT / name)]
        pip = [self.bin / 'python', '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        subprocess.run([*pip, *files], check=True)
        (self.site_packages,) = (folder / 'venv' / 'lib').glob('python*/site-packages')
        self._driver = driver.build(self.site_packages, folder).parent

    def run(self, *arguments, processes=0, **variables) -> subprocess.CompletedProcess:
        """Run a program of the project in the environment, under mpirun if ``processes`` > 0."""
        own = {'LD_LIBRARY_PATH': str(self._driver), 'PYTHONPATH': str(programs.PROJECT)}
        own['NNSEG_CACHE'] = str(self.home / 'cache')
        options = ['-n', processes, '--allow-run-as-root', '--oversubscribe']
        launcher = [self.bin / 'mpirun', *options] if processes else []
        return subprocess.run(
            [str(part) for part in (*launcher, self.bin / 'python', *arguments)],
            cwd=programs.PROJECT,
            env={**os.environ, **own, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope='module')
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp('environment'))


def check_libraries(environment, process, ranks):
    """Check that each rank has only mpi4py's MPI, the NCCL of the wheels, and its variables."""
    assert process.returncode == 0, process.stderr
    reports = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{')]
    assert [report['size'] for report in reports] == [ranks] * ranks
    for report in reports:
        assert report['libmpi'] == report['mpi4py']
        assert report['libmpi'] == str(environment.home / 'venv' / 'lib' / 'libmpi.so.40')
        assert report['loaded'] == [report['mpi4py']]
        assert report['libnccl'].startswith(str(environment.site_packages / 'nvidia' / 'nccl'))
        assert report['restored']
    print(f'{ranks} x {reports[0]}')
    return reports


@pytest.mark.parametrize('program', PROGRAMS)
def test_the_extension_loads_in_one_process(environment, program):
    (report,) = check_libraries(environment, environment.run('-c', PROGRAMS[program]), 1)
    if program != 'after a global mpi4py':
        assert report['global'] == [None, None]


@pytest.mark.parametrize('program', PROGRAMS)
def test_the_extension_loads_under_mpirun(environment, program):
    check_libraries(environment, environment.run('-c', PROGRAMS[program], processes=2), 2)


def test_variables_of_the_user_have_no_effect(environment):
    variables = {'OMPI_HOME': '/usr', 'NCCL_HOME': '/usr'}
    check_libraries(environment, environment.run('-c', PROGRAMS['alone'], **variables), 1)


@pytest.mark.parametrize('processes', [0, 2])
def test_the_environment_table_lists_the_communicator(environment, processes):
    process = environment.run('-m', 'engine.environment', processes=processes)
    assert process.returncode == 0, process.stderr
    print(process.stdout)
    lines = [line for line in process.stdout.splitlines() if line.endswith(REGISTERED)]
    assert len(lines) == max(1, processes)
    assert 'Initializing' not in process.stdout + process.stderr


def test_commands_fall_back_to_the_cpu_without_a_gpu(environment, tmp_path):
    """The stand-in driver reports no GPU; the output of the extension is not shown."""
    photo, config = 'resources/street.jpg', 'configs/D3Net_T_camvid.yaml'
    options = ['-i', photo, '-cfg', config, '--scale', '0.1', '-o', tmp_path / 'result.jpg']
    process = environment.run('infer.py', *options)
    assert process.returncode == 0, process.stderr
    assert process.stderr.startswith('running on the CPU (the GPU does not respond: ')
    for noise in ('Initializing', 'openmpi library', 'compatibility could not be verified'):
        assert noise not in process.stdout + process.stderr


def test_the_earlier_solution_crashes(environment):
    """If it worked, the tests above would prove nothing."""
    naive = GLOBAL_LIBRARIES + (
        'import tempfile\n'
        'from engine.device import libraries\n'
        'home = importing._mpi_home(tempfile.mkdtemp(), importing.mpi_of_mpi4py(MPI)[0])\n'
        'libraries.load(importing.nvidia_libraries(importing.nvidia_folder()))\n'
        'with libraries.environment(OMPI_HOME=home):\n'
        '    import nnabla_ext.cudnn\n'
    )
    assert environment.run('-c', naive).returncode == -signal.SIGSEGV
    check_libraries(environment, environment.run('-c', GLOBAL_LIBRARIES + LOAD + REPORT), 1)
