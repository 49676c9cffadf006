"""Findings about the CUDA extension: cache, damage, and the reason for a missing communicator."""

import importlib.util
import os
import shutil

import pytest

from common.writing import cache_entries
from engine.device.extension import findings as cached_findings
from engine.device.extension.findings import Findings
from support import programs
from support.cuda_extension import FAKE_EXTENSION


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


def test_damaged_findings_are_a_cache_miss(tmp_path):
    path = tmp_path / 'findings.json'
    findings = Findings(None, '/x/libmpi.so.40', 'Open MPI v5', '/x/libmpi.so.40', None, ('a', 'b'))
    cached_findings.write(path, findings)
    assert cached_findings.read(path) == findings
    for damage in ('', '[]', path.read_text()[:-9], path.read_text().replace('v5', 'v4')):
        path.write_text(damage)
        assert cached_findings.read(path) is None
    wrong = ({'other': 1}, 3, {'mpi': 3}, {'mpi': ['x']}, {'registered': 'ab'}, {'registered': [1]})
    wrong += ({'registered': [None]},)
    for facts in ({}, *({'findings': each, 'stamps': []} for each in wrong)):
        cache_entries.write(path, facts)
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
