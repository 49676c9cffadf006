"""Run many commands of a page in children forked from one process that has imported the project.

Each command starts as ``python COMMAND`` does, with its own modules' state, but without the seconds of the imports.
Run as a program, this file is that process. Its modules come from the folder in which the commands run, so that a
command finds what it would find there.
"""

import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

PRELOADED = (
    'cv2', 'nnabla.functions', 'nnabla.parametric_functions', 'nnabla.solvers', 'onnx', 'onnxruntime',
    'datasets.prepare', 'datasets.show', 'engine.training.run', 'engine.evaluation.evaluating',
    'engine.inference.segmenting', 'engine.export.exporting', 'models.convert.__main__', 'engine.zoo.table',
)  # fmt: skip
SECONDS = 240  # the longest that a command may take


class Session:
    """The process that forks, and its client."""

    def __init__(self, folder: Path, scratch: Path, environment: dict[str, str]):
        """Start the process; ``folder`` has a copy of the project, ``scratch`` gets its files."""
        self.folder, self.scratch, self._count = folder, scratch, 0
        address = str(scratch / 'session')
        with Listener(address) as listener:
            self._process = subprocess.Popen(
                [environment['PYTHON'], __file__, address, str(folder)],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self._connection = listener.accept()
        self._connection.recv()  # all is imported

    def run(self, arguments: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
        """Run a command, arguments as after ``python``; return its exit status and what it printed."""
        output = self.scratch / f'output_{self._count}'
        self._count += 1
        request = {
            'arguments': arguments,
            'cwd': str(cwd),
            'environment': environment,
            'output': str(output),
        }
        self._connection.send(request)
        pid = self._connection.recv()
        if not self._connection.poll(SECONDS):
            os.killpg(pid, signal.SIGKILL)
        status = self._connection.recv()
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it left running
        return status, output.read_text(errors='replace')

    def python(self, cwd: Path, environment: dict[str, str]) -> 'PythonBlocks':
        """Start a process that runs the python blocks of a page."""
        return PythonBlocks(self, self._connection, cwd, environment)

    def close(self):
        """End the process."""
        self._connection.close()
        self._process.wait(30)


class PythonBlocks:
    """A process that runs blocks of Python one after the other, with the same names."""

    def __init__(
        self, session: Session, server: Connection, cwd: Path, environment: dict[str, str]
    ):
        address = str(session.scratch / f'python_{time.monotonic_ns()}')
        self._output = Path(f'{address}_output')
        with Listener(address) as listener:
            server.send(
                {
                    'address': address,
                    'cwd': str(cwd),
                    'environment': environment,
                    'output': str(self._output),
                }
            )
            self._pid = server.recv()
            self._connection = listener.accept()

    def run(self, code: str, page: str, line: int) -> tuple[bool, str]:
        """Run a block; return whether it ran to its end, and what it printed."""
        self._output.unlink(missing_ok=True)
        self._connection.send((code, page, line, str(self._output)))
        try:
            done = self._connection.poll(SECONDS) and self._connection.recv()
        except EOFError:
            done = False
        return done, self._output.read_text(errors='replace')

    def close(self):
        """End the process."""
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)


def _serve(address: str, folder: str) -> dict | None:
    """Fork a child for each request; return the request in the child, None when the client is gone."""
    with Client(address) as connection:
        _preload(folder)
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
                connection.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _preload(folder: str):
    """Import what the commands import."""
    sys.path[0] = folder
    for name in PRELOADED:
        __import__(name)
    from common import silent_imports

    for name in ('openvino', 'matplotlib'):
        silent_imports.load(name)


def _become_child(request: dict):
    """Make this forked process the one of the request."""
    with suppress(PermissionError):
        os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(request['environment'])
    os.chdir(request['cwd'])
    sys.stdout.reconfigure(line_buffering=True)
    sys.stdout.flush()
    _redirect(request['output'])


def _redirect(output: str):
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _run_command(arguments: list[str]):
    """Run a script or a module as the main program."""
    if arguments[0] == '-m':
        sys.argv = ['-m', *arguments[2:]]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name='__main__')


def _run_blocks(address: str):
    """Run the blocks that the client sends."""
    names: dict = {'__name__': '__main__'}
    sys.argv = ['']
    sys.path[0] = ''
    with Client(address) as connection:
        while True:
            try:
                code, page, line, output = connection.recv()
            except EOFError:
                return
            _redirect(output)
            try:
                exec(compile('\n' * line + code, page, 'exec'), names)
                done = True
            except BaseException:
                traceback.print_exc()
                done = False
            sys.stdout.flush()
            sys.stderr.flush()
            connection.send(done)


def main():
    """Serve; in a child, run the command or the blocks of the request."""
    request = _serve(*sys.argv[1:])
    if request is None:
        return
    _become_child(request)
    if 'arguments' in request:
        _run_command(request['arguments'])
    else:
        _run_blocks(request['address'])


if __name__ == '__main__':
    main()
