"""Import NNabla's CUDA extension without risking a crash of the program.

A crash during the import would end the program. So :mod:`engine.device.extension.trial` tries the
import in a child process first, and :mod:`engine.device.extension.findings` records a success for
later processes. The import itself is in :mod:`engine.device.extension.importing`.
"""

import sys
from types import ModuleType

from common.log import LOG
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
        UnusableError: The extension or the driver is missing, or the import fails or would crash.
    """
    if MODULE in sys.modules:
        return sys.modules[MODULE]
    findings = examine()
    if findings.problem:
        raise UnusableError(findings.problem)
    LOG.info('importing %s', MODULE)  # takes seconds, as the GPU is started
    mpi = importing.mpi_of_this_process() or findings.mpi
    return importing.import_extension(mpi, importing.symbols_are_global())
