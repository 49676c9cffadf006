"""The table of ``python -m engine.environment``.

MPI and the GPU can crash a process, so child processes try them: the table is always printed.
"""

import platform
import shutil
import socket
import sys
import textwrap
from pathlib import Path

from common import machine
from engine.device import extension
from engine.device.known_bugs import HOPPER, HOPPER_PROBLEM

LINE_CHARACTERS = 110
# Pairs of packages that install the same module.
SAME_MODULE = (
    ('opencv-python', 'opencv-python-headless'),
    ('onnxruntime', 'onnxruntime-gpu'),
)
# Training in several processes on CPUs needs this.
MPI_TRIAL = 'from mpi4py import MPI; print("mpi4py with", MPI.Get_library_version().split(",")[0])'
GPU_TRIAL = """
from common.launcher import launched_local_rank
from engine.device import context
reason = context.why_no_gpu(context.gpu_of(launched_local_rank()))
print(reason or "in float and half")
raise SystemExit(reason is not None)
"""
# Rows that can differ between the ranks of a job, as they can run on several machines.
ROWS_OF_EACH_RANK = ('GPU', '-c cudnn', "extension's libmpi", "extension's libnccl", 'communicator')
NOT_WRAPPED = ("extension's libmpi", "extension's libnccl", 'communicator')


def table_lines(rank: int) -> list[str]:
    """Return the table as lines; other ranks than 0 return only rows that differ by machine.

    Args:
        rank: Rank of this process in its job; 0 for a single process.
    """
    rows = table_rows()
    if rank:  # rank 0 prints the rest for all
        who = f'rank {rank} on {socket.gethostname()}'
        rows = [(f'{who}, {name}', fact) for name, fact in rows if name in ROWS_OF_EACH_RANK]
    texts = ((name, f'{name}: {fact}') for name, fact in rows)
    return [text if name.endswith(NOT_WRAPPED) else _wrapped(text) for name, text in texts]


def table_rows() -> list[tuple[str, str]]:
    """Return the whole table as rows of a name and a fact."""
    findings = extension.examine()
    return [
        ('system', platform.platform()),
        *machine.describe().items(),
        (
            '-c cpu',
            "works in float on one core; half is refused, because NNabla's sums in half precision "
            'are wrong on the CPU',
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
    hopper = [gpu for gpu in machine.gpus() if gpu.generation == HOPPER]
    problems.append(f'{HOPPER_PROBLEM} ({"concerns this GPU" if hopper else "no such GPU here"})')
    for pair in SAME_MODULE:
        if all(machine.version_of(package) for package in pair):
            problems.append(
                f'{" and ".join(pair)} overwrite each other; uninstall both, install one'
            )
    return problems


def _mpi() -> str:
    own = Path(sys.prefix) / 'bin' / 'mpirun'
    mpirun = str(own) if own.exists() else shutil.which('mpirun')
    if not mpirun:
        return 'no mpirun: python -m pip install -r requirements.txt brings one'
    status, output = machine.output_of([mpirun, '--version'])
    return f'{(output.splitlines() or [f"does not run, status {status}"])[0]}, {mpirun}'


def try_gpu() -> str:
    """Return whether NNabla computes on the GPU, in words."""
    return try_python(GPU_TRIAL)


def try_python(code: str) -> str:
    """Run Python code in a child process; return its success and its last line of output."""
    status, output = machine.output_of([sys.executable, '-c', code])
    ending = f'status {status}' if status > 0 else f'the signal {extension.name_of_signal(-status)}'
    last = (output.strip().splitlines() or [f'ends with {ending}'])[-1]
    if status < 0:
        last = f'ends with {ending}'
    return f'does not work: {last}' if status else f'works: {last}'


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        LINE_CHARACTERS,
        subsequent_indent='    ',
        break_long_words=False,
        break_on_hyphens=False,
    )
