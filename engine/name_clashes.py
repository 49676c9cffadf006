"""Refuse to run where another package or module has the name of one of the project's packages.

``datasets`` and ``models`` are usual names. What comes earlier on ``sys.path`` is imported in
their place, and fails deep inside. The check imports the standard library only.
"""

import importlib.util
import os
import sys
from typing import NoReturn

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # of the packages
NAMES = ('common', 'layers', 'd3net', 'models', 'datasets')


class NameClashError(ImportError):
    """Another package or module would be imported instead of one of the project's."""


def check() -> None:
    """Raise ``NameClashError`` unless every package is found in the project's folder.

    A command, ``python -m engine...``, ends with one line and status 2 instead.
    """
    for name in NAMES:
        place = _place(name)
        if place is not None and os.path.dirname(os.path.realpath(place)) != FOLDER:
            _refuse(name, place)


def _place(name: str) -> str | None:
    """Return the folder of a package, or the file of a module, that is or would be imported.

    Returns:
        None if nothing has the name, or if it comes from no file.
    """
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return folders[0] if folders else spec.origin


def _refuse(name: str, place: str) -> NoReturn:
    """Raise the error, or end the process if it runs a command of the project."""
    state = 'was imported before' if name in sys.modules else 'comes first on sys.path'
    fault = f'{place} {state}, but nnseg has a package called {name} as well'
    if _is_command():
        sys.stderr.write(f'error: {fault}: run this command in the folder {FOLDER}\n')
        sys.exit(2)
    raise NameClashError(
        f'{fault}: rename the other one, or install nnseg into an environment without it, or, if '
        'the program does not need it, write at its beginning: '
        f'import sys; sys.path.insert(0, {FOLDER!r})',
        name=name,
        path=place,
    )


def _is_command() -> bool:
    """Return whether Python is looking for a module of the project that ``-m`` names."""
    if sys.argv[:1] != ['-m']:  # it is, while Python imports the package of the module
        return False
    module = sys.orig_argv[-len(sys.argv)]
    return module.removeprefix('-m').startswith('engine.')
