"""The child process of :mod:`engine.device.extension.trial`: import the extension, print what it
found.

Standard output has one JSON object a line: ``stage`` names what is imported next, the others are
fields of :class:`engine.device.extension.findings.Findings`. The parent reads how far a crash let
it come.
"""

import ctypes
import json
import os
import sys

import nnabla as nn

from engine.device import libraries
from engine.device.extension import importing, trial

TYPES = ('float', 'half')


def main():
    channel = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # what libraries print is no finding

    def announce(**findings):
        print(json.dumps(findings), file=channel)

    mpi = version = None
    if trial.WITHOUT_MPI not in sys.argv[1:]:
        announce(stage=trial.MPI4PY)
        mpi, version = _find_mpi()
    announce(mpi=mpi, mpi_version=version)
    if trial.GLOBAL in sys.argv[1:] and mpi:
        ctypes.CDLL(mpi, mode=os.RTLD_GLOBAL)
    announce(stage=importing.MODULE)
    try:
        importing.import_extension(mpi, importing.symbols_are_global())
    except importing.UnusableError as error:
        announce(problem=str(error), registered=[])
        return
    own = importing.library_path()
    for name, function in importing.SYMBOLS.items():
        found = own and libraries.file_behind_pointer(own, function)
        announce(**{f'extension_{name.removeprefix("lib")}': found})
    announce(stage=trial.COMMUNICATOR)
    announce(registered=[name for name in map(_backend, TYPES) if _is_registered(name)])


def _find_mpi() -> tuple[str | None, str | None]:
    """The libmpi of mpi4py, which is loaded but not initialised."""
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        with libraries.import_flags(libraries.LOCAL):
            from mpi4py import MPI
    except (ImportError, RuntimeError):  # RuntimeError: it finds no libmpi
        return None, None
    return importing.mpi_of_mpi4py(MPI)


def _backend(type_config: str) -> str:
    return f'cuda:{type_config}'


def _is_registered(backend: str) -> bool:
    try:
        importing.create_communicator(nn.Context([backend], 'CudaCachedArray', '0'))
    except RuntimeError:
        return False
    return True


if __name__ == '__main__':
    main()
