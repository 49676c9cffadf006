"""The table of the system: its rows, known problems, child processes, and ranks of a job."""

import pytest

from common import machine
from engine.environment import system_report
from support import mpi_jobs, programs

SMI = """\
NVIDIA H200, 143771 MiB, 580.159, 9.0
NVIDIA A10, 23028 MiB, 580.159, 8.6
"""


@pytest.fixture
def smi(monkeypatch):
    """The answers of nvidia-smi, pairs of an exit status and an output; the last one counts."""
    answers = []
    monkeypatch.setattr(machine, 'output_of', lambda command: answers[-1])
    return answers


def test_the_command_prints_the_table():
    process = programs.run('-m', 'engine.environment')
    assert process.returncode == 0, process.stderr
    rows = {line.split(': ')[0] for line in process.stdout.splitlines()}
    assert {'CPU', 'GPU', 'Python', 'packages', '-c cpu', '-c cudnn', 'MPI'} <= rows
    assert {'mpirun -c cpu', "extension's libmpi", "extension's libnccl", 'communicator'} <= rows
    text = ' '.join(process.stdout.split())
    assert 'nnabla 1.39.0' in text
    assert 'numpy 1.26.4' in text
    assert 'works: mpi4py with Open MPI' in text
    assert 'illegal instruction' in text
    lengths = [
        len(line)
        for line in process.stdout.splitlines()
        if not line.startswith(system_report.NOT_WRAPPED)
    ]
    assert max(lengths) <= 120


def test_gpus_and_their_known_problems(smi):
    smi.append((0, SMI))
    assert 'NVIDIA H200 (143771 MiB, driver 580.159' in machine.describe()['GPU']
    assert 'NVIDIA A10' in machine.describe()['GPU']
    assert 'concerns this GPU' in system_report._problems()[0]
    for capability in ('8.6', '12.0', '[N/A]'):
        smi.append((0, f'Some GPU, 1 MiB, 1, {capability}\n'))
        assert f'compute capability {capability}' in machine.describe()['GPU']
        assert 'no such GPU here' in system_report._problems()[0]


def test_two_builds_of_opencv_are_a_known_problem(monkeypatch):
    assert len(system_report._problems()) == 1
    monkeypatch.setattr(machine, 'version_of', lambda package: '4.11')
    assert 'overwrite each other' in system_report._problems()[1]


def test_the_end_of_a_child_process_is_reported(smi):
    smi.append((1, 'PMIX failed\nMPI_INIT has failed because of a fault\n'))
    assert system_report.try_python('') == 'does not work: MPI_INIT has failed because of a fault'
    smi.append((-6, 'free(): invalid pointer\n'))
    assert system_report.try_python('') == 'does not work: ends with the signal SIGABRT'
    smi.append((3, ''))
    assert system_report.try_python('') == 'does not work: ends with status 3'
    smi.append((0, 'noise\nfine\n'))
    assert system_report.try_python('') == 'works: fine'


@programs.without_cuda
def test_each_rank_reports_the_rows_of_its_machine():
    job = mpi_jobs.run(2, '-m', 'engine.environment')
    assert job.returncode == 0, job.stderr
    lines = job.stdout.splitlines()
    reason = 'is not registered: nnabla-ext-cuda120 is not installed: '
    communicators = [line for line in lines if 'communicator: ' in line]
    assert len(communicators) == 2
    assert all(f'communicator: {reason}' in line for line in communicators)
    assert len([line for line in lines if line.startswith('rank 1 on ')]) == 5
    assert len([line for line in lines if line.startswith('packages: ')]) == 1
