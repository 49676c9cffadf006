"""The CUDA extension's MPI and symbols, with a stand-in for the extension.

Tests that need the genuine wheels are in tests/cuda_install.
"""

import ctypes
import json
import os
from pathlib import Path

import pytest

from engine.device import extension
from engine.device.extension import importing
from support import mpi_jobs, programs
from support.cuda_extension import FAKE_EXTENSION

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
