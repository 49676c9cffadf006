"""Run the commands of pages in children forked from one process that has imported the project.

Each command starts as ``python COMMAND`` does, but without the seconds of the imports. Run as a
program, this file is that process. Its modules come from the folder in which the commands run, so
that a command finds what it would find there.
"""

import logging
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

PRELOADED = (
    'common', 'cv2', 'nnabla.functions', 'nnabla.parametric_functions', 'nnabla.solvers', 'onnx',
    'onnxruntime', 'datasets.prepare', 'datasets.show', 'engine.training.run',
    'engine.evaluation.evaluating', 'engine.inference.segmenting', 'engine.export.exporting',
    'models.convert.__main__', 'engine.zoo.table',
)  # fmt: skip
PRELOADED_SILENTLY = ('openvino', 'matplotlib')
SECONDS = 240  # the longest that a command may take


@dataclass
class Finished:
    """A command that has ended: exit status, what it printed, seconds of CPU that it took."""

    status: int
    printed: str
    cpu_seconds: float


class Session:
    """The client of the process that forks."""

    def __init__(self, folder: Path, scratch: Path, environment: dict[str, str]):
        """Start the process.

        Args:
            folder: Has a copy of the project.
            scratch: Gets what commands print.
            environment: Its environment variables.
        """
        self._scratch, self._count = scratch, 0
        self._process, self._connection = _started(
            ['fork', str(folder)], scratch, folder, environment
        )
        self._connection.recv()  # all is imported

    def run(self, arguments: list[str], cwd: Path, environment: dict[str, str]) -> Finished:
        """Run a command, with arguments as after ``python``, to its end."""
        output = self._output()
        self._connection.send(
            {'arguments': arguments, 'cwd': cwd, 'environment': environment, 'output': output}
        )
        pid = self._connection.recv()
        if not self._connection.poll(SECONDS):
            end_group(pid)
        status, cpu_seconds = self._connection.recv()
        end_group(pid)  # what it left running
        return Finished(status, read(output), cpu_seconds)

    def python(self, cwd: Path, environment: dict[str, str]) -> 'PythonBlocks':
        """Start a process that runs the python blocks of a page."""
        output = self._output()
        with Listener(str(output)) as listener:
            self._connection.send({'blocks': output, 'cwd': cwd, 'environment': environment})
            pid = self._connection.recv()
            return PythonBlocks(pid, listener.accept(), Path(f'{output}_printed'))

    def close(self):
        """End the process."""
        self._connection.close()
        self._process.wait(30)

    def _output(self) -> Path:
        self._count += 1
        return self._scratch / f'command_{self._count}'


class PythonBlocks:
    """A process that runs blocks of Python one after the other, with the same names."""

    def __init__(self, pid: int, connection: Connection, output: Path):
        self._pid, self._connection, self._output = pid, connection, output

    @classmethod
    def of_its_own(cls, cwd: Path, scratch: Path, environment: dict[str, str]) -> 'PythonBlocks':
        """Start a process that imports the modules as they are now."""
        process, connection = _started(['blocks'], scratch, cwd, environment)
        return cls(process.pid, connection, scratch / 'blocks_printed')

    def run(self, code: str, page: str, line: int) -> Finished:
        """Run a block; the status is 1 if it raises or ends the process."""
        self._output.unlink(missing_ok=True)
        self._connection.send((code, page, line, self._output))
        status, cpu_seconds = 1, 0.0
        with suppress(EOFError):
            if self._connection.poll(SECONDS):
                status, cpu_seconds = self._connection.recv()
        return Finished(status, read(self._output), cpu_seconds)

    def close(self):
        """End the process."""
        self._connection.close()
        end_group(self._pid)


def read(path: Path) -> str:
    """Return what a command printed, and remove the file."""
    text = path.read_text(encoding='utf-8', errors='replace')
    path.unlink()
    return text


def end_group(pid: int):
    """Kill a process and those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _started(
    arguments: list[str], scratch: Path, cwd: Path, environment: dict[str, str]
) -> tuple[subprocess.Popen, Connection]:
    """Start this file as a program; return the process and the connection to it."""
    address = str(scratch / f'session_{time.monotonic_ns()}')
    with Listener(address) as listener:
        process = subprocess.Popen(
            [sys.executable, __file__, address, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        return process, listener.accept()


# What follows runs in the other process.


def _serve(connection: Connection) -> dict | None:
    """Fork a child for each request; return the request in the child, None at the end."""
    for name in PRELOADED:
        __import__(name)
    from common import silent_imports

    for name in PRELOADED_SILENTLY:
        silent_imports.load(name)
    connection.send('ready')
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return None
        pid = os.fork()
        if not pid:
            connection.close()
            return request
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        connection.send(pid)
        if 'arguments' in request:
            _, status, usage = os.wait4(pid, 0)
            seconds = usage.ru_utime + usage.ru_stime
            connection.send((os.waitstatus_to_exitcode(status), seconds))


def _become(request: dict):
    """Make this forked process the one of the request."""
    with suppress(PermissionError):
        os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(request['environment'])
    os.chdir(request['cwd'])
    sys.stdout.reconfigure(line_buffering=True)


def _redirect(output: Path):
    """Write what follows to a file, output and errors in their order."""
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _run_command(arguments: list[str]):
    """Run a script or a module as the main program, with a log as in a new process."""
    logging.root.handlers.clear()  # the import of NNabla added one, which the log would take over
    if arguments[0] == '-m':
        sys.argv = ['-m', *arguments[2:]]
        sys.path[0] = os.getcwd()
        for name in (arguments[1], f'{arguments[1]}.__main__'):
            if not hasattr(sys.modules.get(name), '__path__'):
                sys.modules.pop(name, None)  # runpy warns of a module that is there already
        runpy.run_module(arguments[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name='__main__')


def _run_blocks(connection: Connection):
    """Run the blocks that the client sends."""
    names: dict = {'__name__': '__main__'}
    sys.argv, sys.path[0] = [''], ''
    while True:
        try:
            code, page, line, output = connection.recv()
        except EOFError:
            return
        _redirect(output)
        before, status = _cpu_seconds(), 0
        try:
            exec(compile('\n' * line + code, page, 'exec'), names)
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send((status, _cpu_seconds() - before))


def _cpu_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(address: str, kind: str, folder: str = ''):
    """Serve; in a child, run the command or the blocks of the request."""
    connection = Client(address)
    if kind == 'blocks':
        return _run_blocks(connection)
    sys.path[0] = folder
    request = _serve(connection)
    if request is None:
        return None
    _become(request)
    if 'arguments' in request:
        _redirect(request['output'])
        return _run_command(request['arguments'])
    return _run_blocks(Client(str(request['blocks'])))


if __name__ == '__main__':
    main(*sys.argv[1:])
