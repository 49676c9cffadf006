"""The frame of a command line: parse, run, and end with one line and a status that means something.

Needs the standard library only, so that it can say in one line that the rest is not installed.
"""

from __future__ import annotations  # so that an older Python gets as far as that line

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
LOG = logging.getLogger('nnseg')
# Here, as every command imports this module before NNabla, which reports that it is imported.
logging.getLogger('nnabla').setLevel(logging.WARNING)

DONE, SOME_FAILED, MISUSED = 0, 1, 2
INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143  # as a shell reports the signals
# In which Open MPI, others and Slurm tell a process how many they have started and its number among
# them. The first pair holds: mpirun may have been started by another of them.
LAUNCHERS = {
    'OMPI_COMM_WORLD_SIZE': 'OMPI_COMM_WORLD_RANK',
    'PMI_SIZE': 'PMI_RANK',
    'MV2_COMM_WORLD_SIZE': 'MV2_COMM_WORLD_RANK',
    'SLURM_STEP_NUM_TASKS': 'SLURM_PROCID',
}
# Where a launcher says which of its processes on one machine this is.
LOCAL_RANKS = (
    'OMPI_COMM_WORLD_LOCAL_RANK',
    'MPI_LOCALRANKID',
    'MV2_COMM_WORLD_LOCAL_RANK',
    'SLURM_LOCALID',
)
COURTESY_SECONDS = 1.5  # for which other ranks let rank 0 speak first


class UserError(Exception):
    """Something the user can mend; the message, one line, says what is wrong and what to do."""


class InputError(UserError):
    """One input cannot be used; others may be."""


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one line instead of its whole usage."""

    def error(self, message):
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
        _set_up_logging(args.debug)
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


def launcher() -> str | None:
    """The variable in which a launcher says how many processes it has started; None when none
    has.
    """
    return next((name for name in LAUNCHERS if name in os.environ), None)


def launched_rank() -> int:
    """This process's number, as its launcher says, before MPI is known to work; 0 without one."""
    name = launcher()
    return int(os.environ.get(LAUNCHERS[name], 0)) if name else 0


def launched_local_rank() -> int:
    """This process's number among those of its machine, as its launcher says; 0 without one."""
    if launcher() is None:
        return 0
    return int(next((os.environ[name] for name in LOCAL_RANKS if name in os.environ), 0))


def is_users_mistake(error: Exception) -> bool:
    """Whether an error is told in one line, not as a traceback."""
    if isinstance(error, ModuleNotFoundError):
        package = PROJECT / error.name.split('.')[0]
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


def _set_up_logging(debug: bool):
    """Our messages on standard error as they are; FFmpeg's never, whose failures are found and
    reported by us.
    """
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    LOG.setLevel(logging.DEBUG if debug else logging.INFO)
