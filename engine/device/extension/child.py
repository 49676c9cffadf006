"""Import the CUDA extension and print the findings, as the child of ``trial``.

Standard output has one JSON object per line. The key ``stage`` names the next import, all other
keys are fields of :class:`engine.device.extension.findings.Findings`. After a crash, the last stage
shows :mod:`engine.device.extension.trial` which import was running.
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
    """Import mpi4py and the extension, and announce each stage and its findings."""
    channel = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # keeps what libraries print out of the findings

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
    """Return mpi4py's libmpi and its version; MPI is loaded but not initialised."""
    try:
        import mpi4py

        mpi4py.rc.initialize = False
        with libraries.import_flags(libraries.LOCAL):
            from mpi4py import MPI
    except (ImportError, RuntimeError):  # RuntimeError: mpi4py finds no libmpi
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
