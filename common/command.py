"""The frame of a command line: parse, run, and end with one line and a status that means something.

Needs the standard library only, so that it can say in one line that the rest is not installed.
"""

from __future__ import annotations  # so that an older Python gets as far as that line

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from common import PROJECT, log
from common.errors import UserError
from common.launcher import COURTESY_SECONDS, launched_rank

DONE, SOME_FAILED, MISUSED = 0, 1, 2
INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143  # as a shell reports the signals


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one line instead of its whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f'{message}; {self.prog} --help lists the options')


def run(
    build_parser: Callable[[], Parser],
    main: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, call ``main(args)`` and return the exit status; a user's mistake ends as one line on
    standard error.

    ``--debug``, which is added here, shows the traceback of such a mistake too. ``main`` imports
    what it needs itself, so that a missing package is a user's mistake as well.
    """
    debug = '--debug' in (sys.argv[1:] if arguments is None else arguments)
    status = BROKEN_PIPE
    try:
        parser = build_parser()
        parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
        args = parser.parse_args(arguments)
        log.set_up(args.debug)
        status = main(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status
    except Exception as error:
        if debug or not is_users_mistake(error):
            raise
        text, rank = _explain(error), launched_rank()
        if rank:  # a mistake of all is told once: a launcher ends us when rank 0 has told it
            time.sleep(COURTESY_SECONDS)
            text = f'{text} (rank {rank} on {socket.gethostname()})'
        print(f'error: {text}', file=sys.stderr)
        return MISUSED


def is_users_mistake(error: Exception) -> bool:
    """Whether an error is told in one line, not as a traceback."""
    if isinstance(error, ModuleNotFoundError):
        package = PROJECT / (error.name or '').split('.')[0]
        return not package.is_dir() and not package.with_suffix('.py').exists()
    return isinstance(error, UserError)


def _explain(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        version = '.'.join(map(str, sys.version_info[:2]))
        advice = (
            f'this is Python {version}, NNabla has wheels up to 3.10: use .venv/bin/python, '
            'which `make demo` creates'
            if version != '3.10'
            else 'python3.10 -m pip install -r requirements.txt'
        )
        return f'the package {error.name} is not installed; {advice}'
    return ' '.join(str(error).split())
