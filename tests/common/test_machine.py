"""Cores and memory that this process may use."""

import os

import pytest

from common import launcher, machine
from common.errors import UserError
from datasets import prepare
from engine.distributed.processes import Processes
from engine.training.prepare import MAX_LOADER_WORKERS, _default_loader_workers


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """A machine with 12 cores: affinity by process id (0: this process), and the cgroup folder."""
    for name in launcher.LOCAL_SIZE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    affinity = {0: set(range(12)), os.getppid(): set(range(12))}
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: affinity[process])
    monkeypatch.setattr(machine, 'CGROUPS', tmp_path)
    monkeypatch.setattr(machine, 'PROCESS_CGROUPS', tmp_path / 'cgroup')
    return affinity, tmp_path


def set_quota(folder, cores):
    """Write the CPU limit of a container with cgroups of version 2."""
    (folder / 'cgroup').write_text('0::/\n')
    (folder / 'cpu.max').write_text(f'{int(cores * 100_000)} 100000\n')


def test_cores_respect_affinity_quota_and_launcher(limits, monkeypatch):
    affinity, folder = limits
    assert machine.cores() == 12
    (folder / 'cgroup').write_text('0::/jobs/mine\n')
    (folder / 'jobs' / 'mine').mkdir(parents=True)
    (folder / 'jobs' / 'mine' / 'cpu.max').write_text('max 100000\n')
    assert machine.cores() == 12
    (folder / 'jobs' / 'cpu.max').write_text('650000 100000\n')
    assert machine.cores() == 6
    (folder / 'jobs' / 'cpu.max').write_text('50000 100000\n')
    assert machine.cores() == 1
    # In a container the root is its own cgroup.
    (folder / 'cgroup').write_text('4:cpu,cpuacct:/docker/123\n')
    (folder / 'cpu').mkdir()
    (folder / 'cpu' / 'cpu.cfs_quota_us').write_text('-1\n')
    (folder / 'cpu' / 'cpu.cfs_period_us').write_text('100000\n')
    assert machine.cores() == 12
    (folder / 'cpu' / 'cpu.cfs_quota_us').write_text('800000\n')
    assert machine.cores() == 8
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '4')
    assert machine.cores() == 2
    (folder / 'cgroup').unlink()
    assert machine.cores() == 3
    affinity[0] = {0, 1}  # mpirun has bound this process to two cores
    assert machine.cores() == 2


def test_threads_default_to_one_per_core(limits):
    set_quota(limits[1], 3)
    assert (machine.threads(), machine.threads(5)) == (3, 5)
    with pytest.raises(UserError, match='--threads must be at least 1, not 0'):
        machine.threads(0)


def test_all_parts_of_the_project_count_the_same_cores(limits, monkeypatch):
    """Quota, affinity and the job's processes limit the threads and processes of every part."""
    affinity, folder = limits

    def counts():
        text = machine.describe()['CPU']
        cores = machine.cores()
        assert f' {cores} cores usable' in text
        assert prepare.number_of_processes(None) == machine.threads() == cores
        return cores, _default_loader_workers(Processes())

    assert counts() == (12, MAX_LOADER_WORKERS)
    set_quota(folder, 2.5)
    assert counts() == (2, 2)
    affinity[0] = {7}
    assert counts() == (1, 1)
    affinity[0] = set(range(12))
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '2')
    assert counts() == (1, 2)  # MPI knows of one process


def test_the_process_count_of_mpi_overrides_the_launchers(limits, monkeypatch):
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '99')
    assert [machine.cores(size) for size in (1, 4, 12, 99)] == [12, 3, 1, 1]
    set_quota(limits[1], 6)
    assert [machine.cores(size) for size in (1, 4)] == [6, 1]


def test_free_memory_is_less_than_the_machine_has():
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    assert 0 <= machine.free_memory() < pages


def test_free_memory_is_that_of_the_tightest_cgroup(tmp_path, monkeypatch):
    """The limits are those of the machine, and of the process's cgroups and all their parents.

    Both cgroup versions are tested.
    """
    monkeypatch.setattr(machine, 'CGROUPS', tmp_path)
    monkeypatch.setattr(machine, 'PROCESS_CGROUPS', tmp_path / 'cgroup')
    monkeypatch.setattr(machine, 'MEMINFO', tmp_path / 'meminfo')
    assert machine.free_memory() == 0  # no source reports it
    (tmp_path / 'meminfo').write_text('MemTotal:  9000 kB\nMemAvailable:  7000 kB\nHugePages: 0\n')
    (tmp_path / 'cgroup').write_text('4:cpu,cpuacct:/a\n3:memory:/jobs/mine\n0::/jobs/mine\n')
    assert machine.free_memory() == 7000 << 10

    def write(folder, **files):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / f'memory.{name}').write_text(f'{text}\n')

    def version2(folder, limit, used, cached):
        write(folder, max=limit, current=used, stat=f'anon 1\ninactive_file {cached}')

    def version1(folder, limit, used, cached):
        stat = f'inactive_file 5\ntotal_inactive_file {cached}'
        write(folder, limit_in_bytes=limit, usage_in_bytes=used, stat=stat)

    version2('jobs/mine', 'max', 500, 0)
    version2('jobs', 6_000_000, 1_000_000, 300)
    assert machine.free_memory() == 5_000_300
    version2('jobs/mine', 2_000_000, 500_000, 0)
    assert machine.free_memory() == 1_500_000
    version1('memory/jobs/mine', 9_223_372_036_854_771_712, 500, 0)
    assert machine.free_memory() == 1_500_000
    version1('memory/jobs', 1_000_000, 600_000, 70_000)
    assert machine.free_memory() == 470_000
    (tmp_path / 'cgroup').write_text('3:memory:/docker/123\n')  # in a container the root is its own
    version1('memory', 900_000, 890_000, 1_000)
    assert machine.free_memory() == 11_000
    version1('memory', 900_000, 990_000, 0)
    assert machine.free_memory() == 0
