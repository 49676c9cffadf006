"""Import a user's own modules, which ``--import`` names and which register parts."""

from __future__ import annotations  # lets an older Python import this module

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError

OPTION = '--import'
_imported: list[str] = []  # names as written on the command line


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name or by file.

    The working directory, or the folder of a file, is appended to ``sys.path``. So worker processes
    can import the module, and no file in that folder replaces another module.

    Args:
        names: Module names or paths of ``.py`` files.

    Raises:
        UserError: A module or file is missing, its name is taken, or it imports a package that is
            not installed.
    """
    for name in names:
        path = Path(name)
        folder, module = (path.parent, path.stem) if path.suffix == '.py' else (Path(), name)
        if path.suffix == '.py':
            _check_file(name, path.resolve())
        if str(folder.resolve()) not in sys.path:
            sys.path.append(str(folder.resolve()))
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and module.startswith(error.name):
                raise UserError(f'{OPTION} {name}: there is no such module or file') from error
            raise UserError(
                f'{OPTION} {name}: needs the package {error.name}, which is not installed in '
                f'{sys.prefix}'
            ) from error
        _imported.append(name)


def imported() -> tuple[str, ...]:
    """Return the names of the imported modules, for child processes that need the same parts."""
    return tuple(_imported)


def _check_file(name: str, path: Path) -> None:
    """Raise ``UserError`` unless the file exists and can be imported under its own name."""
    if not path.is_file():
        raise UserError(f'{OPTION} {name}: there is no such module or file')
    if not path.stem.isidentifier():
        raise UserError(f'{OPTION} {name}: rename it to a valid module name, such as mine.py')
    found = importlib.util.find_spec(path.stem)
    if found is not None and (found.origin is None or Path(found.origin).resolve() != path):
        raise UserError(
            f'{OPTION} {name}: another module is called {path.stem}; give the file another name'
        )
