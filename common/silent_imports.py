"""Import packages that report their use or write into the home folder, with both turned off.

``import openvino`` posts an event with a persistent id to an analytics server and writes
``~/intel``; ``nncf`` does the same. Matplotlib writes into ``~/.config`` and ``~/.cache``. Nothing
in the project imports these packages in another way: ``make lint`` refuses it.
"""

import importlib
import os
import sys
from contextlib import suppress
from typing import Any

from common import files
from common.errors import UserError
from common.writing import cache_entries

TELEMETRY = 'openvino_telemetry'  # the package with which openvino and nncf send
MATPLOTLIB_FOLDER = 'MPLCONFIGDIR'  # environment variable: where matplotlib writes
MATPLOTLIB_BACKEND = 'MPLBACKEND'  # environment variable: how matplotlib shows figures


def load(name: str) -> Any:
    """Import a package; in this process, openvino and nncf cannot send or store anything.

    Both send with ``openvino_telemetry`` and do without where it is not installed. So it is made
    to seem missing. Their opt-out would be a file in the home folder, and their switches for
    continuous integration name variables that other programs read.

    Args:
        name: ``openvino``, ``nncf`` or ``matplotlib``, or a module of one of them.

    Raises:
        ImportError: The package is not installed.
    """
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # import raises ModuleNotFoundError
    if not name.startswith('matplotlib'):
        return importlib.import_module(name)
    if MATPLOTLIB_FOLDER in os.environ:
        return _matplotlib(name)
    return _private_matplotlib(name)


def _matplotlib(name: str) -> Any:
    """Import a module of matplotlib, whatever shows figures in the process that started this one.

    The kernel of a notebook names a backend to all programs that its cells start, and the first
    import of matplotlib fails where that backend is not installed, and leaves it half imported. The
    project's figures need no backend, but those of a program that uses the project may.
    """
    first = 'matplotlib' not in sys.modules
    backend = os.environ.pop(MATPLOTLIB_BACKEND, None)
    try:
        module = importlib.import_module(name)
    finally:
        if backend is not None:
            os.environ[MATPLOTLIB_BACKEND] = backend
    if first and backend:
        with suppress(ValueError):
            sys.modules['matplotlib'].rcParams['backend'] = backend
    return module


def _private_matplotlib(name: str) -> Any:
    """Import a module of matplotlib, whose list of fonts is for the owner of the cache alone."""
    try:
        folder = (files.cache_folder() / 'matplotlib').absolute()
    except UserError:  # without a home folder matplotlib has nowhere to write
        return _matplotlib(name)
    os.environ[MATPLOTLIB_FOLDER] = str(folder)
    with suppress(OSError):
        cache_entries.make_folder(folder)
    module = _matplotlib(name)
    cache_entries.restrict_files(folder)
    return module
