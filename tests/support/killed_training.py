"""Train in forked processes that kill themselves with SIGKILL at a chosen point.

A server process imports the project once and forks a child for each training, so that a test that
kills many trainings does not pay the imports each time. The server itself computes nothing.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import train
from common import PROJECT as FOLDER
from common.command import run_command
from engine.inference.predictor import Predictor
from engine.training.loop import TrainingLoop

PROJECT = f'{FOLDER}{os.sep}'
PIECES = 8  # a file is written in pieces, as on a slow disk; a remainder adds one piece


class Killer:
    """A counter of points in a training, which kills this process at the chosen point.

    Args:
        kind: ``call``, calls and returns of the project's functions during the loop; ``write``, the
            pieces in which weights and states are written; ``replace``, new files that replace
            old ones; ``image``, images of a validation.
        number: The chosen point, counted from 1; 0 kills at no point.
    """

    def __init__(self, kind: str, number: int):
        self.number, self.count = number, 0
        if kind == 'call':
            TrainingLoop.run = self.profiled(TrainingLoop.run)
        elif kind == 'write':
            Path.write_bytes = lambda path, content: self.write_bytes(path, content)
        elif kind == 'replace':
            os.replace = self.before(os.replace)
        elif kind == 'image':
            Predictor.labels = self.before(Predictor.labels)

    def point(self):
        """Count a point; kill this process if it is the chosen one."""
        self.count += 1
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function):
        """Return the function with a point before each call."""

        def counted(*arguments, **options):
            self.point()
            return function(*arguments, **options)

        return counted

    def write_bytes(self, path: Path, content):
        """Write a file in pieces, with a point before each."""
        with open(path, 'wb', buffering=0) as file:
            for start in range(0, len(content), len(content) // PIECES):
                self.point()
                file.write(content[start : start + len(content) // PIECES])

    def profile(self, frame, event, argument):
        """Count a call or a return of a function of the project."""
        if frame.f_code.co_filename.startswith(PROJECT):
            self.point()

    def profiled(self, function):
        """Return the function with a point at each call and return inside it."""

        def counted(*arguments):
            sys.setprofile(self.profile)
            try:
                return function(*arguments)
            finally:
                sys.setprofile(None)

        return counted


class Server:
    """A process that forks trainings; a context manager."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=FOLDER,
            env={**os.environ, 'PYTHONPATH': str(FOLDER)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def train(self, kind: str, number: int, arguments: list[str]) -> tuple[int, str]:
        """Train in a forked process that is killed at a point.

        Args:
            kind: Kind of the points, see :class:`Killer`.
            number: The point at which the process is killed.
            arguments: Arguments of train.py.

        Returns:
            The exit status, negative for a signal, and the standard error.
        """
        print(json.dumps([kind, number, arguments]), file=self._process.stdin, flush=True)
        return tuple(json.loads(self._process.stdout.readline()))


def serve():
    """Fork a training for each line of standard input, and answer with its status and errors."""
    for line in sys.stdin:
        kind, number, arguments = json.loads(line)
        with tempfile.TemporaryFile('w+') as errors:
            child = os.fork()
            if not child:
                train_and_exit(kind, number, arguments, errors.fileno())
            _, status = os.waitpid(child, 0)
            errors.seek(0)
            answer = os.waitstatus_to_exitcode(status), errors.read()
        print(json.dumps(answer), flush=True)


def train_and_exit(kind: str, number: int, arguments: list[str], errors: int):
    """Train in this process, the child, and exit without the clean-up of the server.

    Args:
        kind: Kind of the points, see :class:`Killer`.
        number: The point at which the process is killed.
        arguments: Arguments of train.py.
        errors: File descriptor that receives the standard error.
    """
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    status = 1
    try:
        Killer(kind, number)
        status = run_command(train.build_parser, train.main, arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == '__main__':
    serve()
