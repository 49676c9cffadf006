"""Environment variables of launchers, and child processes that must not inherit them."""

import json
import os
import subprocess
import sys

import pytest

from common import PROJECT, launcher
from support import mpi_jobs

# Further variables that launchers set, beside those that the project reads.
KNOWN = {
    'OMPI_MCA_ess': '^singleton', 'PMIX_RANK': '0', 'PRTE_LAUNCHED': '1', 'PMI_FD': '7',
    'MPI_LOCALNRANKS': '2', 'SLURM_JOB_ID': '1', 'SLURM_STEP_NODELIST': 'a',
}  # fmt: skip


def variables():
    """Return the names of all variables that the project reads."""
    return {
        *launcher.RANK_VARIABLES, *launcher.RANK_VARIABLES.values(), *launcher.LOCAL_RANK_VARIABLES,
        *launcher.LOCAL_SIZE_VARIABLES,
    }  # fmt: skip


@pytest.fixture
def without_launcher(monkeypatch):
    """Remove the variables of a launcher under which the tests run."""
    for name in list(os.environ):
        if name.startswith(launcher.VARIABLE_PREFIXES):
            monkeypatch.delenv(name)


def test_a_child_does_not_inherit_the_job(without_launcher, monkeypatch):
    before = dict(os.environ)
    for name, value in {**dict.fromkeys(variables(), '2'), **KNOWN}.items():
        monkeypatch.setenv(name, value)
    assert launcher.launched_rank() == launcher.launched_local_size() == 2
    assert launcher.environment_without_launcher() == before
    program = 'from common import launcher; print(launcher.launcher())'
    child = subprocess.run([sys.executable, '-c', program], cwd=PROJECT, text=True, check=True,
                           env=launcher.environment_without_launcher(),
                           stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout == 'None\n'


def test_open_mpi_is_distinguished_from_other_launchers(without_launcher, monkeypatch):
    for name in variables() - {launcher.OPEN_MPI_SIZE}:
        monkeypatch.setenv(name, '2')
    assert not launcher.started_by_open_mpi()
    monkeypatch.setenv(launcher.OPEN_MPI_SIZE, '2')
    assert launcher.started_by_open_mpi()


def test_the_variables_of_a_real_mpirun(tmp_path):
    """A child gets none of the variables by which MPI would take it for a rank."""
    program = tmp_path / 'program.py'
    program.write_text(
        'import json, os\nfrom common import launcher\n'
        f'with open(f"{tmp_path}/{{launcher.launched_rank()}}.json", "w") as out:\n'
        '    json.dump([launcher.started_by_open_mpi(), launcher.launched_local_size(),\n'
        '               sorted({*os.environ} - {*launcher.environment_without_launcher()})], out)\n'
    )
    job = mpi_jobs.run(2, program)
    assert job.returncode == 0, job.stderr
    for rank in range(2):
        by_open_mpi, size, hidden = json.loads((tmp_path / f'{rank}.json').read_text())
        assert (by_open_mpi, size) == (True, 2)
        assert {'OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMIX_NAMESPACE'} <= set(hidden)
