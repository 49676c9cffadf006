"""What this machine gives to this process: cores, and the kind of CPU that compiled code fits."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

from command import UserError

CGROUPS = Path('/sys/fs/cgroup')
OWN_CGROUPS = Path('/proc/self/cgroup')
# How many processes of a job run on this machine, as Open MPI, MPICH and Slurm say it.
LOCAL_SIZES = 'OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS', 'SLURM_NTASKS_PER_NODE'


def threads(asked: int | None = None) -> int:
    """The number of threads to use: what is asked for, else this process's share of the cores.

    That is the cores it may run on, no more than the limit of its cgroups, and of both what falls
    to one of the job's processes on this machine. Raises ``UserError``.
    """
    if asked is not None:
        if asked < 1:
            raise UserError(f'--threads must be at least 1, not {asked}')
        return asked
    own, limit, processes = len(_affinity(0)), cgroup_limit(), _processes()
    shared = own if processes == 1 else len(_affinity(os.getppid()) or _affinity(0)) // processes
    if limit is not None:
        shared = min(shared, int(limit / processes))
    return max(1, min(own, shared))


def _affinity(process: int) -> set[int]:
    """The cores that a process may run on. mpirun binds its children to some of its own."""
    try:
        return os.sched_getaffinity(process)
    except OSError:  # another user's
        return set()
    except AttributeError:  # not on Linux
        return set(range(os.cpu_count() or 1))


def _processes() -> int:
    for name in LOCAL_SIZES:
        if os.environ.get(name, '').isdigit():
            return max(1, int(os.environ[name]))
    return 1


def cgroup_limit() -> float | None:
    """The cores' worth of time that the cgroups of this process allow; None when any."""
    limits = []
    for line in _read(OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers == '':
            root, parse = CGROUPS, _version2
        elif 'cpu' in controllers.split(','):
            root, parse = CGROUPS / 'cpu', _version1
        else:
            continue
        folder = root / path.lstrip('/')
        # In a container the path may be the host's; the root is then the container's own.
        limits += [parse(each) for each in (folder, *folder.parents) if each.is_relative_to(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _version2(folder: Path) -> float | None:
    quota, _, period = _read(folder / 'cpu.max').strip().partition(' ')
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _version1(folder: Path) -> float | None:
    quota, period = (_read(folder / f'cpu.cfs_{name}_us').strip() for name in ('quota', 'period'))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''


@cache
def cpu() -> str:
    """The CPU's name and a digest of its instruction sets: code compiled elsewhere may crash."""
    facts = {}
    for line in _read(Path('/proc/cpuinfo')).split('\n\n')[0].splitlines():
        key, _, value = line.partition(':')
        facts[key.strip()] = value.strip()
    name = facts.get('model name') or platform.processor() or platform.machine()
    flags = hashlib.sha256(facts.get('flags', '').encode()).hexdigest()[:12]
    return f'{name} {flags}'
