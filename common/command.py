"""Run a command: parse its options, call its main function, turn errors into one line.

The module uses the standard library only, so that it can report a missing package in one line.
"""

from __future__ import annotations  # lets an older Python print that line

import argparse
import dataclasses
import socket
import sys
import time
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from common import PROJECT, __version__, log, once, own_modules
from common.errors import ClosedPipeError, UserError
from common.launcher import RANK_0_HEAD_START_SECONDS, launched_rank
from common.settings import FLAGS, GROUP
from common.terminal import streams

T = typing.TypeVar('T')
Container = typing.Union[argparse.ArgumentParser, argparse._ArgumentGroup]
DONE, SOME_FAILED, USER_ERROR = 0, 1, 2
# 128 + signal number, as in a shell
HUNG_UP, INTERRUPTED, BROKEN_PIPE, TERMINATED = 129, 130, 141, 143


class _Extend(argparse.Action):
    """The action ``extend``: values of all uses of an option; the first replaces the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*([] if before is self.default else before), *values])


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line instead of its whole usage.

    An option with several values may be repeated: ``--set a=1 b=2`` is ``--set a=1 --set b=2``.
    """

    def __init__(self, *arguments: Any, **words: Any):
        super().__init__(*arguments, **words)
        self.register('action', 'extend', _Extend)

    def error(self, message: str) -> NoReturn:
        """Raise the message as a ``UserError``."""
        raise UserError(f'{message}; {self.prog} --help lists the options')


def run_command(
    build_parser: Callable[[], Parser],
    main: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the arguments, call ``main(args)`` and return the exit status of the command.

    A user's mistake is printed as one line on standard error. If standard output or standard error
    cannot be written, ``main`` still runs to its end; the exit status reports lost output. Three
    options are added to every command: ``--debug`` shows the traceback of a user's mistake,
    ``--version`` prints the version of the project, and ``--import`` imports modules that register
    a user's own parts. ``main`` imports heavy packages itself, so that a missing package is
    reported as a user's mistake as well.

    Args:
        build_parser: Returns the parser of the command.
        main: Receives the parsed arguments and returns the exit status.
        arguments: Command line without the program name; by default that of this process.

    Returns:
        The exit status for ``sys.exit``.

    Raises:
        Exception: An error that is not the user's mistake.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with streams.guarded() as output:
        try:
            status = _run(build_parser, main, arguments)
        except Exception:
            sys.excepthook = streams.print_traceback
            raise
        except SystemExit:  # of --help or --version
            output.flush()
            if output.failure is None:
                raise
            status = DONE
        output.flush()
        return _status(status, output.failure)


def _run(
    build_parser: Callable[[], Parser],
    main: Callable[[argparse.Namespace], int],
    arguments: Sequence[str],
) -> int:
    """Parse the arguments, call ``main`` and report a user's mistake; return the exit status."""
    debug = '--debug' in arguments
    log.set_up(debug)  # before a user's module imports NNabla, which has a log format of its own
    try:
        own_modules.import_modules(_own_modules(arguments))
        parser = build_parser()
        parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
        parser.add_argument('--version', action='version', version=f'nnseg {__version__}')
        parser.add_argument(
            own_modules.OPTION,
            action='append',
            metavar='MODULE',
            help='first import this module or .py file, which registers your own networks, '
            'data sets, losses, augmentations or backends',
        )
        args = parser.parse_args(arguments)
        log.set_up(args.debug)
        once.reset()
        return main(args)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED
    except ClosedPipeError:
        return BROKEN_PIPE
    except Exception as error:
        if debug or not is_users_mistake(error):
            raise
        text, rank = _explain(error), launched_rank()
        if rank:  # rank 0 reports first; the launcher then ends this rank before it prints
            time.sleep(RANK_0_HEAD_START_SECONDS)
            text = f'{text} (rank {rank} on {socket.gethostname()})'
        print(f'error: {text}', file=sys.stderr)
        return USER_ERROR


def _status(status: int, failure: Exception | None) -> int:
    """Return the exit status of a command whose printed text may have been lost.

    Args:
        status: The status without that loss.
        failure: Why standard output could not be written; None if it could.
    """
    if failure is None or status not in (DONE, SOME_FAILED):
        return status
    if isinstance(failure, BrokenPipeError):  # the reader has exited, as `| head` does
        return BROKEN_PIPE
    reason = getattr(failure, 'strerror', None) or failure
    print(
        f'error: standard output: cannot be written ({reason}); the files of this command are '
        'complete, its text is not: redirect it to another place',
        file=sys.stderr,
    )
    return USER_ERROR


def add_options(parser: Container, kind: type) -> None:
    """Add the options of a settings dataclass, and of its groups, to a parser.

    Args:
        parser: The parser, or an argument group of one.
        kind: A dataclass as described in :mod:`common.settings`.
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
    """Create the settings from parsed arguments.

    Args:
        kind: The dataclass whose options :func:`add_options` added to the parser.
        args: The parsed arguments.

    Returns:
        An instance of ``kind``; groups are instances of their own dataclasses.
    """
    hints, values = typing.get_type_hints(kind), {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if GROUP in each.metadata:
            values[each.name] = settings(hints[each.name], args)
        elif FLAGS in each.metadata:
            value = getattr(args, each.name)
            values[each.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _with_message(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make argparse show the message of a ``ValueError`` that ``parse`` raises."""
    if parse in (int, float, str, Path):  # argparse's own message is better
        return parse

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def _own_modules(arguments: Sequence[str]) -> list[str]:
    """Return the values of ``--import``, wherever they stand among the other options."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(own_modules.OPTION, dest='modules', action='append', default=[])
    named: list[str] = parser.parse_known_args(arguments)[0].modules
    return named


def is_users_mistake(error: Exception) -> bool:
    """Return whether an error is reported in one line instead of a traceback."""
    if isinstance(error, ModuleNotFoundError):
        package = PROJECT / (error.name or '').split('.')[0]
        return not package.is_dir() and not package.with_suffix('.py').exists()
    return isinstance(error, UserError)


def _explain(error: Exception) -> str:
    """Return the message of a user's mistake as one line."""
    if isinstance(error, ModuleNotFoundError):
        version = '.'.join(map(str, sys.version_info[:2]))
        advice = (
            f'this is Python {version}, NNabla has wheels up to 3.10: use .venv/bin/python, '
            'which `make demo` creates'
            if version != '3.10'
            else 'python3.10 -m pip install -r requirements.txt'
        )
        return f'the package {error.name} is not installed; {advice}'
    return str(error)
