"""The table of ``python -m engine.environment``.

What may end a process, MPI and the GPU, is tried in child processes: the table is always printed.
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

LINE = 110  # characters
# Packages that are one module under two names.
SAME_MODULE = (
    ('opencv-python', 'opencv-python-headless'),
    ('onnxruntime', 'onnxruntime-gpu'),
)
# What several processes need to train together on CPUs.
MPI_TRIAL = 'from mpi4py import MPI; print("mpi4py with", MPI.Get_library_version().split(",")[0])'
GPU_TRIAL = """
from common.launcher import launched_local_rank
from engine.device import context
reason = context.why_no_gpu(context.gpu_of(launched_local_rank()))
print(reason or "in float and half")
raise SystemExit(reason is not None)
"""
# What the ranks of a job may have differently, as they may run on several machines.
ROWS_OF_EACH_RANK = ('GPU', '-c cudnn', "extension's libmpi", "extension's libnccl", 'communicator')
NOT_WRAPPED = ("extension's libmpi", "extension's libnccl", 'communicator')


def lines(rank: int) -> list[str]:
    """Return the table as lines; ranks other than 0 give the rows that may differ between machines.

    Args:
        rank: The number of this process in its job; 0 for one alone.
    """
    rows = report()
    if rank:  # rank 0 prints the rest for all
        who = f'rank {rank} on {socket.gethostname()}'
        rows = [(f'{who}, {name}', fact) for name, fact in rows if name in ROWS_OF_EACH_RANK]
    texts = ((name, f'{name}: {fact}') for name, fact in rows)
    return [text if name.endswith(NOT_WRAPPED) else _wrapped(text) for name, text in texts]


def report() -> list[tuple[str, str]]:
    """The whole table as rows of a name and a fact."""
    findings = extension.examine()
    return [
        ('system', platform.platform()),
        *machine.describe().items(),
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
    """Whether NNabla computes on the GPU, in words."""
    return try_python(GPU_TRIAL)


def try_python(code: str) -> str:
    """Run Python code in a child process: whether it works, and the last line that it prints."""
    status, output = machine.output_of([sys.executable, '-c', code])
    ending = f'status {status}' if status > 0 else f'the signal {extension.name_of_signal(-status)}'
    last = (output.strip().splitlines() or [f'ends with {ending}'])[-1]
    if status < 0:
        last = f'ends with {ending}'
    return f'does not work: {last}' if status else f'works: {last}'


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, LINE, subsequent_indent='    ', break_long_words=False, break_on_hyphens=False
    )
