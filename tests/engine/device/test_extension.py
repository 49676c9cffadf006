"""Import of NNabla's CUDA extension, with stand-ins for it: MPI, crashes and cached findings.

Tests that need the genuine wheels are in tests/cuda_install.
"""

import ctypes
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from engine.device import extension, libraries
from engine.device.extension import UnusableError, importing, trial
from engine.device.extension import findings as cached_findings
from engine.device.extension.findings import Findings
from support import mpi_jobs, programs

PHOTO = programs.PROJECT / 'resources' / 'street.jpg'
SEGMENT = ('infer.py', '-i', PHOTO, '-cfg', 'configs/D3Net_T_camvid.yaml', '--scale', '0.1')
LOAD_AND_REPORT = """
import ctypes, json, os, sys
from engine.device import extension, libraries
from engine.device.extension import importing
flags, before = sys.getdlopenflags(), dict(os.environ)
module = extension.load()
from mpi4py import MPI
print(json.dumps({
    'home': module.HOME,
    'library': module.LIBRARY,
    'own': importing.mpi_of_mpi4py(MPI)[0],
    'loaded': sorted({l.split()[-1] for l in open('/proc/self/maps') if 'libmpi.so' in l}),
    'global': [libraries.file_of_function(None, f) for f in ('ncclCommInitRank', 'MPI_Init')],
    'restored': dict(os.environ) == before and sys.getdlopenflags() == flags,
}))
"""
FAKE_EXTENSION = """
import ctypes, os
HOME = os.environ['OMPI_HOME']
LIBRARY = ctypes.CDLL(HOME + '/lib/libmpi.so') and os.path.realpath(HOME + '/lib/libmpi.so')
print('noise of an import')
os.write(2, b'noise of a library\\n')
"""


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


def test_the_extension_gets_the_mpi_of_mpi4py(installed, tmp_path):
    """The user's environment names another MPI. No symbol becomes global, and no file remains."""
    wrong = {'OMPI_HOME': '/no/such/folder', 'NCCL_HOME': '/no/such/folder'}
    process = programs.run('-c', LOAD_AND_REPORT, **installed(FAKE_EXTENSION), **wrong)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    assert found['library'] == found['own']
    assert found['loaded'] == [found['own']]
    assert found['global'] == [None, None]
    assert found['restored']
    assert found['home'] != wrong['OMPI_HOME']
    assert not Path(found['home']).exists()
    assert not list(tmp_path.glob('nnseg-*'))
    assert 'noise' not in process.stdout + process.stderr


def test_each_rank_gets_the_mpi_of_mpi4py(installed, tmp_path):
    program = tmp_path / 'program.py'
    program.write_text('from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()\n' + LOAD_AND_REPORT)
    job = mpi_jobs.run(2, program, **installed(FAKE_EXTENSION))
    assert job.returncode == 0, job.stderr
    found = [json.loads(line) for line in job.stdout.splitlines() if line.startswith('{')]
    assert len(found) == 2
    assert len({each['library'] for each in found}) == 1
    for each in found:
        assert each['library'] == each['own']
        assert each['global'] == [None, None]
        assert each['restored']


@pytest.mark.parametrize('order', ['before', 'after'])
def test_a_global_mpi4py_makes_the_import_bind_deeply(order, installed):
    """RTLD_DEEPBIND is used only if mpi4py is imported before the extension.

    tests/cuda_install tests that the genuine extension is then bound to its own names.
    """
    flags = 'sys.setdlopenflags({})\n'
    import_globally = (
        'import os, sys\n'
        + flags.format('os.RTLD_NOW | os.RTLD_GLOBAL')
        + 'from mpi4py import MPI\n'
        + flags.format('os.RTLD_NOW')
    )
    load = (
        'import sys\nfrom engine.device import extension\n'
        'from engine.device.extension import importing\n'
        'print("global", importing.symbols_are_global())\nprint(extension.load().FLAGS)\n'
    )
    program = import_globally + load if order == 'before' else load + import_globally
    code = FAKE_EXTENSION + 'import sys\nFLAGS = sys.getdlopenflags()\n'
    process = programs.run('-c', program, **installed(code))
    assert process.returncode == 0, process.stderr
    deep = os.RTLD_DEEPBIND if order == 'before' else 0
    assert process.stdout.split('\n')[:2] == [
        f'global {order == "before"}',
        str(os.RTLD_NOW | deep),
    ]


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


def test_each_rank_tries_a_gpu_of_its_own(installed):
    job = mpi_jobs.run(2, '-m', 'engine.environment', **installed('get_device_count = lambda: 1\n'))
    assert job.returncode == 0, job.stderr
    lines = [
        line
        for line in job.stdout.splitlines()
        if 'this machine has 1 GPU; rank 1 needs a second' in line
    ]
    assert len(lines) == 1
    assert lines[0].startswith('rank 1 on ')


def test_a_hanging_import_is_reported_in_one_line(installed, monkeypatch):
    for name, value in installed('import time\ntime.sleep(60)').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trial, 'CHILD_SECONDS', 2)
    assert trial._run_child(False).problem == (
        'the import of nnabla_ext.cudnn takes more than 2 seconds'
    )


def test_only_successful_imports_are_cached(installed, tmp_path):
    """Until a file on which they depend changes."""
    count = f"with open({str(tmp_path / 'imports')!r}, 'a') as file:\n    file.write('x')\n"

    def imports(code, **more):
        before = len((tmp_path / 'imports').read_text()) if (tmp_path / 'imports').exists() else 0
        variables = installed(code)
        process = programs.run(
            '-c',
            'from engine.device import extension; extension.examine()',
            **{**variables, **more},
        )
        assert process.returncode == 0, process.stderr
        return len((tmp_path / 'imports').read_text()) - before

    failing = count + 'raise ImportError("libx.so: no")'
    assert [imports(failing), imports(failing)] == [1, 1]
    assert [imports(count + FAKE_EXTENSION), imports(count + FAKE_EXTENSION)] == [1, 0]
    os.utime(tmp_path / 'driver' / cached_findings.DRIVER, (1, 1))  # another driver
    assert [imports(count + FAKE_EXTENSION), imports(count + FAKE_EXTENSION)] == [1, 0]
    other = {'LD_LIBRARY_PATH': f'{tmp_path / "driver"}:/usr/lib'}
    assert [imports(count + FAKE_EXTENSION, **other), imports(count + FAKE_EXTENSION, **other)] == [
        1,
        0,
    ]
    folder = importlib.util.find_spec('mpi4py').submodule_search_locations[0]
    shutil.copytree(folder, tmp_path / 'own' / 'mpi4py')  # like a build for another MPI
    path = f'{tmp_path / "own"}{os.pathsep}{installed(FAKE_EXTENSION)["PYTHONPATH"]}'
    other = {'PYTHONPATH': path}
    assert [imports(count + FAKE_EXTENSION, **other), imports(count + FAKE_EXTENSION, **other)] == [
        1,
        0,
    ]
    closed = {'NNSEG_CACHE': '/proc/nowhere'}  # a read-only cache folder
    assert [
        imports(count + FAKE_EXTENSION, **closed),
        imports(count + FAKE_EXTENSION, **closed),
    ] == [1, 1]


def test_a_crash_of_mpi4py_disables_only_the_communicator(installed, tmp_path):
    """The extension remains usable, on one GPU."""
    variables = installed(FAKE_EXTENSION)
    broken = tmp_path / 'broken'
    (broken / 'mpi4py').mkdir(parents=True)
    (broken / 'mpi4py' / '__init__.py').write_text('import os\nos.abort()\n')
    variables['PYTHONPATH'] = f'{broken}{os.pathsep}{variables["PYTHONPATH"]}'
    program = (
        'from engine.device import extension\nprint(extension.load().HOME)\n'
        'print(extension.examine().communicator)\n'
    )
    process = programs.run('-c', program, **variables)
    assert process.returncode == 0, process.stderr
    expected = 'is not registered: the import of mpi4py ends with an abort: '
    assert process.stdout.splitlines()[-1].startswith(expected)


def test_damaged_findings_are_a_cache_miss(tmp_path):
    path = tmp_path / 'findings.json'
    findings = Findings(None, '/x/libmpi.so.40', 'Open MPI v5', '/x/libmpi.so.40', None, ('a', 'b'))
    cached_findings.write(path, findings)
    assert cached_findings.read(path) == findings
    for damage in ('', '[]', '{}', '{"findings": {"other": 1}}', path.read_text()[:-9]):
        path.write_text(damage)
        assert cached_findings.read(path) is None


@pytest.mark.parametrize(
    ('findings', 'line'),
    [
        (
            Findings(registered=('cuda:float', 'cuda:half')),
            'is registered for cuda:float, cuda:half',
        ),
        (Findings('no driver'), 'is not registered: no driver'),
        (Findings(), 'is not registered: mpi4py cannot be imported: '),
        (
            Findings(mpi='/x/libmpi.so.12', mpi_version='MPICH Version: 4.0'),
            "is not registered: mpi4py's MPI is MPICH Version: 4.0 (/x/libmpi.so.12), NNabla's is",
        ),
        (
            Findings(mpi='/x/libmpi.so.40', mpi_version='Open MPI v5.0.11'),
            'is not registered: the extension does not use /x/libmpi.so.40, which mpi4py uses',
        ),
        (
            Findings(None, '/x/libmpi.so.40', 'Open MPI v5.0.11', '/x/libmpi.so.40'),
            'is not registered: libnccl is missing: ',
        ),
        (
            Findings(None, '/x/mpi.so', 'Open MPI v5.0.11', '/x/mpi.so', '/x/nccl.so'),
            "is not registered: the reason is unknown; the extension's libraries are /x/mpi.so and "
            '/x/nccl.so',
        ),
    ],
)
def test_the_reason_for_a_missing_communicator_is_reported(findings, line):
    assert findings.communicator.startswith(line)


def test_without_mpi4py_the_extension_finds_no_other_mpi(tmp_path):
    """The library that it gets instead can be opened, but has no MPI functions."""
    home = importing._mpi_home(str(tmp_path), None)
    library = ctypes.CDLL(f'{home}/lib/libmpi.so')
    assert not hasattr(library, 'MPI_Init')


def test_nnabla_loads_no_mpi_for_its_communicator(monkeypatch):
    """On a CPU there is no communicator, but NNabla would load MPI before it raises the error."""
    import nnabla as nn

    loaded = []
    original = ctypes.CDLL

    def spy(name, *args, **kwargs):
        loaded.append(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(ctypes, 'CDLL', spy)
    with pytest.raises(RuntimeError, match='could not be found in'):
        extension.create_communicator(nn.Context(['cpu:float'], 'CpuCachedArray', '0'))
    assert loaded == [None]
    assert ctypes.CDLL is spy


@programs.without_cuda
def test_a_missing_extension_is_detected_without_a_child(monkeypatch):
    monkeypatch.setattr(trial, '_run_child', lambda are_global: pytest.fail('a child was started'))
    monkeypatch.delitem(sys.modules, importing.MODULE, raising=False)
    with pytest.raises(UnusableError, match='nnabla-ext-cuda120 is not installed'):
        extension.load()
    assert libraries.file_of_function(None, 'MPI_Init') is None
