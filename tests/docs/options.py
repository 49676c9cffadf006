"""The command lines of the project, and the options that documents name."""

import importlib
import importlib.util
import re
import shlex
import sys
from argparse import SUPPRESS, ArgumentParser
from functools import cache
from pathlib import Path
from unittest import mock

from common.command import run_command
from support import programs

# Every option of these is in one of the command's pages, by their names.
PAGES_OF = {
    'train.py': ('training', 'tasks'),
    'infer.py': ('segmenting', 'tasks'),
    'evaluate.py': ('evaluation', 'tasks'),
    'runtime/segment.py': ('export',),
    'engine.export': ('export', 'evaluation'),
    'engine.serve': ('serve', 'segmenting'),
    'engine.report': ('training',),
    'datasets.prepare': ('datasets', 'tasks'),
    'datasets.prepare flow': ('datasets', 'tasks'),
    'datasets.prepare init': ('datasets', 'own-data'),
    'datasets.prepare polygons': ('datasets', 'own-data'),
    'datasets.prepare split': ('datasets', 'own-data'),
    'models.convert': ('networks', 'tasks'),
}
COMMON = {'--help', '--version', '--debug'}  # of all commands: any page has them
OTHERS = (
    'datasets.show', 'engine.config', 'engine.environment', 'models', 'models.complexity', 'fuzz',
    'benchmarks', 'benchmarks.suite', 'tools/update_docs.py',
)  # fmt: skip
WITHOUT_THE_FRAME = ('runtime/segment.py', 'tools/update_docs.py')  # of common.command
# By the word of a command line; a script by its path, or its name elsewhere.
PROGRAMS = {
    word: name
    for name in (*PAGES_OF, *OTHERS)
    for word in {name, Path(name).name}
    if ' ' not in name
}
# Options that documents name of programs that are not the project's, by program.
FOREIGN = {
    'mkdocs': '--strict',
    'mpirun': '--allow-run-as-root --bind-to --hostfile --oversubscribe',
    'Slurm': '--batch --cpus-per-task --gpu-bind --gpus-per-node --job-name --nodes '
    '--ntasks-per-node --open-mode --requeue --signal --time',
    'TensorBoard': '--logdir',
}
OPTION = re.compile(r'(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*')
SHORT = re.compile(r'(?<![\w-])-[a-z]+(?![\w-])')


class _SeenParser(BaseException):  # no error, so that no command reports it
    """Carries the parser out of a command when it is complete."""


@cache
def spellings_of(program: str) -> list[list[str]]:
    """Return the spellings of each option that the help of a command shows, such as -o, --output.

    Args:
        program: A script, or a module of ``python -m``, and for some their first argument.
    """
    actions = _parser(program)._actions
    return [
        each.option_strings for each in actions if each.option_strings and each.help != SUPPRESS
    ]


def options_of(program: str) -> frozenset[str]:
    """Return all spellings of the options of a command."""
    return frozenset(option for spellings in spellings_of(program) for option in spellings)


def all_options() -> frozenset[str]:
    """Return the options that documents may name."""
    foreign = ' '.join(FOREIGN.values()).split()
    return frozenset(foreign).union(*map(options_of, (*PAGES_OF, *OTHERS)))


def _parser(program: str) -> ArgumentParser:
    """Return the parser of a command with all its options."""
    name, *form = program.split()
    module = _module(name)

    def parse_args(parser, *_):
        raise _SeenParser(parser)

    with mock.patch.object(ArgumentParser, 'parse_args', parse_args):
        try:
            if name in WITHOUT_THE_FRAME:
                module.main()
            elif form or name == 'datasets.prepare':
                module.run(form)
            else:
                run_command(module.build_parser, module.main, [])
        except _SeenParser as seen:
            return seen.args[0]
    raise AssertionError(f'{program} parses no options')


def _module(name: str):
    """Import a script or the main module of a package."""
    if name.endswith('.py'):
        path = programs.PROJECT / name
        spec = importlib.util.spec_from_file_location(f'{path.stem}_of_the_documents', path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # for its dataclasses
        spec.loader.exec_module(module)
        return module
    module = importlib.import_module(name)
    return importlib.import_module(f'{name}.__main__') if hasattr(module, '__path__') else module


def named_in(text: str) -> set[str]:
    """Return the options that a document names, in commands and in text."""
    return set(OPTION.findall(text))


def short_ones_in(text: str) -> set[str]:
    """Return what looks like an option with one hyphen, also those of other programs."""
    return set(SHORT.findall(text))


def unknown_in(command: str) -> list[str]:
    """Return the options in a line of commands that their programs do not have.

    Options of programs that are not the project's are not looked at.
    """
    words = shlex.split(command)
    found: list[str] = []
    known: frozenset[str] | None = None
    for number, word in enumerate(words):
        before = words[number - 1] if number else ''
        if word in ('|', '||', '&&', ';', '&', '>', '>>'):
            known = None
        elif (
            known is None
            and (word in PROGRAMS or Path(word).name in PROGRAMS)
            and (word.endswith('.py') or before == '-m')
        ):
            name = PROGRAMS[word] if word in PROGRAMS else PROGRAMS[Path(word).name]
            following = f'{name} {words[number + 1]}' if number + 1 < len(words) else ''
            known = options_of(following if following in PAGES_OF else name)
        elif known is not None and re.match('-{1,2}[a-zA-Z]', word):
            option = word.partition('=')[0]
            found += [] if option in known else [option]
    return found
