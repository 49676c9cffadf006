"""NNabla's CUDA extension, imported so that it cannot crash the program.

As an import that crashes takes the program with it, a child process does it first
(:mod:`engine.device.extension.trial`), unless it has gone well before
(:mod:`engine.device.extension.findings`). What makes it go well is in
:mod:`engine.device.extension.importing`.
"""

import sys
from types import ModuleType

from engine.device.extension import importing
from engine.device.extension.importing import (
    MODULE,
    UnusableError,
    create_communicator,
    is_of_driver,
    last_line,
)
from engine.device.extension.trial import examine, name_of_signal

__all__ = [
    'UnusableError',
    'create_communicator',
    'examine',
    'is_of_driver',
    'last_line',
    'load',
    'name_of_signal',
]


def load() -> ModuleType:
    """Import ``nnabla_ext.cudnn``; repeated calls cost nothing.

    Raises:
        UnusableError: It is not installed, there is no driver, or the import fails or would crash.
    """
    if MODULE in sys.modules:
        return sys.modules[MODULE]
    findings = examine()
    if findings.problem:
        raise UnusableError(findings.problem)
    mpi = importing.mpi_of_this_process() or findings.mpi
    return importing.import_extension(mpi, importing.symbols_are_global())
