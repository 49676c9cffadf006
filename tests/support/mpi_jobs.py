"""Start MPI jobs as a user does, watch their processes, and check what remains of them."""

import json
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
# On a busy machine, mpirun occasionally prints this message and starts no process.
NOT_STARTED = "The PMIx server's listener thread failed to start"
JOB_SECONDS = 60  # timeout of a job, with and without faults
# Waiting ranks leave their core to others, as jobs share the machine with other tests.
YIELD = {'OMPI_MCA_mpi_yield_when_idle': '1'}


def command(processes: int, *arguments, options=('--oversubscribe',)) -> list[str]:
    """Return the command line that starts a Python program of the project as an MPI job.

    Args:
        processes: Number of ranks.
        *arguments: The program and its arguments.
        options: Options of mpirun.
    """
    options = ['-n', processes, '--allow-run-as-root', *options, sys.executable]
    return [str(argument) for argument in (MPIRUN, *options, *arguments)]


def run(processes: int, *arguments, **environment) -> subprocess.CompletedProcess:
    """Run a job to its end; retry if mpirun could not start any process."""
    for _ in range(3):
        with started(processes, *arguments, **environment) as job:
            process = job.finished(timeout=240)
        if NOT_STARTED not in process.stderr:
            break
    return process


class MpiJob:
    """A running job and all its processes.

    An environment variable identifies every process of the job, including data workers and
    processes whose parent is dead.

    Attributes:
        mpirun: The ``Popen`` of mpirun.
    """

    def __init__(self, arguments: list[str], environment: Mapping):
        self._mark = f'{os.getpid()}.{time.monotonic_ns()}'
        environment = {**YIELD, **os.environ, **environment, 'TEST_JOB': self._mark}
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
        """Wait for the job's end and return its output and status.

        Raises ``subprocess.TimeoutExpired`` if it does not end in time.
        """
        out, err = self.mpirun.communicate(timeout=timeout)
        return subprocess.CompletedProcess(self.mpirun.args, self.mpirun.returncode, out, err)

    def fails(self) -> str:
        """Assert that the job fails in time and no process remains; return its standard error."""
        process = self.finished()
        assert process.returncode != 0
        assert self.is_gone(), self.processes().keys()
        return process.stderr

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the environments of all living processes of the job, by process id."""
        found = {}
        for path in Path('/proc').iterdir():
            if path.name.isdigit() and int(path.name) != os.getpid():
                environment = _environment(path)
                if environment.get('TEST_JOB') == self._mark:
                    found[int(path.name)] = environment
        return found

    def rank(self, number: int) -> int:
        """Return the process id of a rank."""
        for pid, environment in self.processes().items():
            if environment.get('OMPI_COMM_WORLD_RANK') == str(number) and not _is_worker(pid):
                return pid
        raise LookupError(f'no rank {number}')

    def kill(self):
        """Send SIGKILL to all processes of the job."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def is_gone(self, seconds: float = 10) -> bool:
        """Wait until no process of the job remains; return whether that happened in time."""
        return wait_for(lambda: not self.processes(), seconds)


class TrainingRun:
    """A run of train.py on a seeded data set.

    Attributes:
        path: The run folder.
        data: The data set.
    """

    def __init__(self, path: Path):
        self.path, self.data = path / 'run', path / 'data'
        self._config = path / 'config.yaml'
        mpi_training.write_data(self.data)

    def options(self, *more, workers: int = 0, **config) -> list:
        """Return the arguments of train.py for a very long training.

        Args:
            *more: More arguments.
            workers: Data workers for each rank.
            **config: Keys of the config that differ.
        """
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
        return [*options, '--workers', workers, *more]

    def log(self) -> str:
        """Return the content of train.log so far."""
        path = self.path / 'train.log'
        return path.read_text() if path.exists() else ''

    def reaches(self, iteration: int, job: MpiJob) -> bool:
        """Wait for an iteration; return whether it is reached before the job ends."""
        wait_for(lambda: f'iteration {iteration}/' in self.log() or job.mpirun.poll() is not None)
        return f'iteration {iteration}/' in self.log()

    def validations(self) -> list[dict]:
        """Return the contents of validation.json, without the folder of the data set."""
        reports = json.loads((self.path / 'validation.json').read_text())
        assert {report['settings'].pop('data_dir') for report in reports} == {str(self.data)}
        return reports

    def state(self) -> checkpoints.TrainingState:
        """Return the saved training state."""
        return checkpoints.load(self.path / 'state.h5')


@contextmanager
def started(processes: int, *arguments, **environment):
    """Start a job; none of its processes survives the block."""
    with running(command(processes, *arguments), environment) as job:
        yield job


@contextmanager
def running(arguments: list[str], environment: Mapping = MappingProxyType({})):
    """Start a job by its command line, as :func:`started` does."""
    job = MpiJob(arguments, environment)
    try:
        yield job
    finally:
        job.kill()
        job.mpirun.communicate()


def wait_for(condition, seconds: float = JOB_SECONDS) -> bool:
    """Wait for a condition; return whether it became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _is_worker(pid: int) -> bool:
    """Return whether a process is a data worker of a rank."""
    return (
        b'from datasets.loading import sample_workers' in Path(f'/proc/{pid}/cmdline').read_bytes()
    )


def _environment(process: Path) -> dict[str, str]:
    """Return the environment of a process; empty for a dead process or another user's."""
    try:
        variables = (process / 'environ').read_bytes().decode(errors='replace').split('\0')
    except OSError:
        return {}
    return dict(variable.split('=', 1) for variable in variables if '=' in variable)
