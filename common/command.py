"""The frame of a command line: parse, run, and end with one line and a status that means something.

Needs the standard library only, so that it can say in one line that the rest is not installed.
"""

from __future__ import annotations  # so that an older Python gets as far as that line

import argparse
import dataclasses
import os
import socket
import sys
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from common import PROJECT, __version__, log, own_modules
from common.errors import UserError
from common.launcher import COURTESY_SECONDS, launched_rank
from common.settings import FLAGS, GROUP

T = typing.TypeVar('T')
Container = typing.Union[argparse.ArgumentParser, argparse._ArgumentGroup]
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

    ``--debug``, which is added here, shows the traceback of such a mistake too, and ``--import``
    brings in what a user has registered. ``main`` imports what it needs itself, so that a missing
    package is a user's mistake as well.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug, status = '--debug' in arguments, BROKEN_PIPE
    try:
        own_modules.import_modules(_own_modules(arguments))
        parser = build_parser()
        parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
        parser.add_argument('--version', action='version', version=f'nnseg {__version__}')
        parser.add_argument(
            own_modules.OPTION,
            action='append',
            metavar='MODULE',
            help='import a module or a .py file first, which registers networks, data sets, '
            'losses, augmentations or backends of your own',
        )
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


def add_options(parser: Container, kind: type) -> None:
    """Give a parser the options of a dataclass of :mod:`common.settings`, those of its groups too.

    Args:
        parser: The parser, or a group of one.
        kind: The dataclass.
    """
    exclusive: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        words = dict(each.metadata)
        if GROUP in words:
            title = words[GROUP]
            add_options(parser.add_argument_group(title) if title else parser, hints[each.name])
        elif FLAGS in words:
            flags, one_of = words.pop(FLAGS), words.pop('exclusive', None)
            if one_of and one_of not in exclusive:
                exclusive[one_of] = parser.add_mutually_exclusive_group()
            target = exclusive.get(one_of, parser)
            if flags:
                words['dest'] = each.name
            if 'type' in words:
                words['type'] = _with_message(words['type'])
            several = words.get('action') == 'append'
            default: Any = each.default
            target.add_argument(
                *flags or (each.name,), default=list(default) if several else default, **words
            )


def settings(kind: type[T], args: argparse.Namespace) -> T:
    """Return the settings that a parser with the options of ``kind`` has read."""
    hints, values = typing.get_type_hints(kind), {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if GROUP in each.metadata:
            values[each.name] = settings(hints[each.name], args)
        elif FLAGS in each.metadata:
            value = getattr(args, each.name)
            values[each.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _with_message(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let a parser show the message of a ``ValueError`` that is for the user."""
    if parse in (int, float, str, Path):  # argparse says it better
        return parse

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def _own_modules(arguments: Sequence[str]) -> list[str]:
    """Return what ``--import`` names, wherever it stands among the other options."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(own_modules.OPTION, dest='modules', action='append', default=[])
    named: list[str] = parser.parse_known_args(arguments)[0].modules
    return named


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
