"""MPI jobs of tests: started as a user does, watched, and what is left of them afterwards."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import yaml

from engine.runs import checkpoints
from support import mpi_training, programs, stand_ins

MPIRUN = Path(sys.executable).parent / 'mpirun'
# What mpirun says, now and then on a busy machine, before it has started any process.
NOT_STARTED = "The PMIx server's listener thread failed to start"
JOB_SECONDS = 60  # seconds in which a job must end, whatever happens to it


def command(processes: int, *arguments, options=('--oversubscribe',)) -> list[str]:
    """The command line for a Python program of the project; options: of mpirun."""
    options = ['-n', processes, '--allow-run-as-root', *options, sys.executable]
    return [str(argument) for argument in (MPIRUN, *options, *arguments)]


def run(processes: int, *arguments, **environment) -> subprocess.CompletedProcess:
    """A job from its start to its end; once more where mpirun could not start anything."""
    for _ in range(3):
        with started(processes, *arguments, **environment) as job:
            process = job.finished(timeout=240)
        if NOT_STARTED not in process.stderr:
            break
    return process


class Job:
    """A running job, and all processes that it has.

    mpirun: its Popen. Every process of it, also a worker of a loader and one whose parent is dead,
    is known by a variable of its environment.
    """

    def __init__(self, arguments: list[str], environment: Mapping):
        self._mark = f'{os.getpid()}.{time.monotonic_ns()}'
        environment = {**os.environ, **environment, 'TEST_JOB': self._mark}
        paths = (
            str(programs.PROJECT),
            str(programs.PROJECT / 'tests'),
            environment.get('PYTHONPATH'),
        )
        environment['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
        self.mpirun = subprocess.Popen(
            arguments,
            cwd=programs.PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finished(self, timeout: float = JOB_SECONDS) -> subprocess.CompletedProcess:
        """Its output and status once it has ended; ``subprocess.TimeoutExpired`` if it does not."""
        out, err = self.mpirun.communicate(timeout=timeout)
        return subprocess.CompletedProcess(self.mpirun.args, self.mpirun.returncode, out, err)

    def fails(self) -> str:
        """What it leaves on standard error when it fails, in bounded time, and with no process."""
        process = self.finished()
        assert process.returncode != 0
        assert self.is_gone(), self.processes().keys()
        return process.stderr

    def processes(self) -> dict[int, dict[str, str]]:
        """The environments of all its processes that live, by process id."""
        found = {}
        for path in Path('/proc').iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                environment = _environment(path)
                if environment.get('TEST_JOB') == self._mark:
                    found[int(path.name)] = environment
        return found

    def rank(self, number: int) -> int:
        """The process id of a rank."""
        for pid, environment in self.processes().items():
            if environment.get('OMPI_COMM_WORLD_RANK') == str(number) and not _is_worker(pid):
                return pid
        raise LookupError(f'no rank {number}')

    def kill(self):
        """SIGKILL for all its processes."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def is_gone(self, seconds: float = 10) -> bool:
        """Whether no process of it is left, at the latest after a time."""
        return wait_for(lambda: not self.processes(), seconds)


class Training:
    """A run of train.py on a seeded data set; its folder is ``path``."""

    def __init__(self, path: Path):
        self.path, self.data = path / 'run', path / 'data'
        self._config = path / 'config.yaml'
        mpi_training.write_data(self.data)

    def options(self, *more, **config) -> list:
        """The arguments of train.py, for a training that would take long."""
        values = {
            **stand_ins.TINY,
            'n_blocks': [1, 1],
            'network': 'd3net',
            'dataset': 'folder',
            'data_dir': str(self.data),
            'batch_size': 1,
            'image_height': 24,
            'image_width': 40,
            'max_iter': 100000,
            'lr': 0.01,
            **config,
        }
        self._config.write_text(yaml.safe_dump(values))
        options = ['-c', 'cpu', '-cfg', self._config, '-o', self.path, '--log-interval', 1]
        return [*options, '--workers', 1, *more]

    def log(self) -> str:
        """What it has told so far."""
        path = self.path / 'train.log'
        return path.read_text() if path.exists() else ''

    def reaches(self, iteration: int, job: Job) -> bool:
        """Whether it comes to an iteration before its job ends."""
        wait_for(lambda: f'iteration {iteration}/' in self.log() or job.mpirun.poll() is not None)
        return f'iteration {iteration}/' in self.log()

    def state(self) -> checkpoints.TrainingState:
        """The state in its folder."""
        return checkpoints.load(self.path / 'state.h5')


@contextmanager
def started(processes: int, *arguments, **environment):
    """A job that is running; nothing of it survives the block."""
    with running(command(processes, *arguments), environment) as job:
        yield job


@contextmanager
def running(arguments: list[str], environment: Mapping = MappingProxyType({})):
    """:func:`started`, by a command line."""
    job = Job(arguments, environment)
    try:
        yield job
    finally:
        job.kill()
        job.mpirun.communicate()


def wait_for(condition, seconds: float = JOB_SECONDS) -> bool:
    """Whether a condition has come true within a time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _is_worker(pid: int) -> bool:
    """Whether a process is one of those that load data for a rank."""
    return (
        b'from datasets.loading import sample_workers' in Path(f'/proc/{pid}/cmdline').read_bytes()
    )


def _environment(process: Path) -> dict[str, str]:
    """The environment of a process; empty for one that is dead or another user's."""
    try:
        variables = (process / 'environ').read_bytes().decode(errors='replace').split('\0')
    except OSError:
        return {}
    return dict(variable.split('=', 1) for variable in variables if '=' in variable)
