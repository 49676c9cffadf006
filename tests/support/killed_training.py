"""A training that is killed, with SIGKILL, at a point that is told.

    python tests/support/killed_training.py KIND NUMBER OPTIONS OF train.py ...

KIND is what is counted: ``call``, calls and returns of and in the project's functions;
``write``, the pieces in which weights and states are written, as on a slow disk; ``replace``, new
files that take the place of old ones; ``image``, images that are validated. The process is killed
before number NUMBER of them; if there are fewer it comes to its end.
"""

import os
import signal
import sys
from pathlib import Path

import train
from common import PROJECT as FOLDER
from common.command import run_command
from engine.inference.predictor import Predictor
from engine.training.loop import TrainingLoop

PROJECT = f'{FOLDER}{os.sep}'
PIECES = 8  # in which a file is written


class Killer:
    """Counts, and kills at a number."""

    def __init__(self, number: int):
        self.number, self.count = number, 0

    def point(self):
        self.count += 1
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function):
        def counted(*arguments, **options):
            self.point()
            return function(*arguments, **options)

        return counted

    def write_bytes(self, path: Path, content):
        with open(path, 'wb', buffering=0) as file:
            for start in range(0, len(content), len(content) // PIECES):
                self.point()
                file.write(content[start : start + len(content) // PIECES])

    def profile(self, frame, event, argument):
        if frame.f_code.co_filename.startswith(PROJECT):
            self.point()

    def profiled(self, function):
        def counted(*arguments):
            sys.setprofile(self.profile)
            try:
                return function(*arguments)
            finally:
                sys.setprofile(None)

        return counted


def main() -> int:
    kind, number, *options = sys.argv[1:]
    killer = Killer(int(number))
    if kind == 'call':
        TrainingLoop.run = killer.profiled(TrainingLoop.run)
    elif kind == 'write':
        Path.write_bytes = lambda path, content: killer.write_bytes(path, content)
    elif kind == 'replace':
        os.replace = killer.before(os.replace)
    elif kind == 'image':
        Predictor.labels = killer.before(Predictor.labels)
    return run_command(train.build_parser, train.main, options)


if __name__ == '__main__':
    sys.exit(main())
