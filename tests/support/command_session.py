"""Run several commands of the project one after the other in one child process.

Only the first command pays for the imports, and parts that ``--import`` registers stay out of the
process of the tests. Run as a program, this file is the child process.
"""

import importlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from support import programs

_PATHS = f'{programs.PROJECT}:{programs.PROJECT / "tests"}'


def run(commands: Mapping[str, Sequence[object]]) -> dict[str, list]:
    """Run commands in order and return their results by name, for :func:`finished`.

    Args:
        commands: Name -> arguments as after ``python``: ``['train.py', '-d', ...]`` or
            ``['-m', 'engine.export', ...]``. Only the result uses the name.
    """
    lists = {name: [str(part) for part in arguments] for name, arguments in commands.items()}
    child = programs.run('-m', 'support.command_session', json.dumps(lists), PYTHONPATH=_PATHS)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def finished(results: Mapping[str, list]) -> dict[str, subprocess.CompletedProcess]:
    """Return the results of :func:`run` as finished processes.

    Their attribute ``networks`` is the number of calls of ``models.create``.
    """
    processes = {}
    for name, (status, output, errors, networks) in results.items():
        processes[name] = subprocess.CompletedProcess(name, status, output, errors)
        processes[name].networks = networks
    return processes


def _module(arguments: list[str]) -> tuple[object, list[str]]:
    """Return the module of a command and the arguments of the command itself."""
    if arguments[0] != '-m':
        return importlib.import_module(Path(arguments[0]).stem), arguments[1:]
    module = importlib.import_module(arguments[1])
    if hasattr(module, '__path__'):
        module = importlib.import_module(f'{arguments[1]}.__main__')
    return module, arguments[2:]


def _run_one(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status, output and errors."""
    import nnabla as nn

    from common.command import run_command

    nn.clear_parameters()
    logging.getLogger().handlers.clear()  # they write to the streams of the previous command
    output, errors = io.StringIO(), io.StringIO()
    module, options = _module(arguments)
    with redirect_stdout(output), redirect_stderr(errors):
        status = run_command(module.build_parser, module.main, options)
    return status, output.getvalue(), errors.getvalue()


def main() -> None:
    """Run the commands of the JSON object on the command line, and print their results as JSON."""
    import models

    create, created = models.create, 0

    def counted(*arguments, **options):
        nonlocal created
        created += 1
        return create(*arguments, **options)

    models.create = models.registry.create = counted
    results = {}
    for name, arguments in json.loads(sys.argv[1]).items():
        before = created
        results[name] = (*_run_one(arguments), created - before)
    print(json.dumps(results))


if __name__ == '__main__':
    main()
