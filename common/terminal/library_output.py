"""Hide what libraries print about a damaged file: our own line names the file and the fault.

libjpeg, libpng, libtiff, FFmpeg and others print with ``fprintf(stderr, ...)``. In glibc that
``stderr`` is a variable: C code can be given another stream while file descriptor 2 stays as it is.
Python's ``sys.stderr``, child processes, ``faulthandler`` and glibc's message about a damaged heap
all use the descriptor, so none of them loses a line.
"""

import ctypes
import logging
import os
import platform
import warnings
from functools import cache

from common.shared_setting import SharedSetting


def _divert() -> int | None:
    """Give C code the null device as standard error; return its stream from before."""
    variable, null = _stderr_variable(), _null_stream()
    before, variable.value = variable.value, null
    return before


def _restore(stream: int | None) -> None:
    _stderr_variable().value = stream


# While a thread decodes a file, C code of all threads prints nothing. This holds as well where a
# user's own program calls the project: an exception reports the fault there.
hidden_c_output = SharedSetting(_divert, _restore)


def hide_python_warnings() -> None:
    """Hide Pillow's warnings about odd files in this process, unless ``-W`` or its variable is set.

    Pillow logs some errors as well before it raises them; nobody has asked for those.

    Commands and their worker processes call it. In a user's own program that imports the project,
    Python's warnings stay the user's own matter.
    """
    warnings.filterwarnings('ignore', module=r'PIL\.', append=True)
    logging.getLogger('PIL').setLevel(logging.CRITICAL)


@cache
def _stderr_variable() -> ctypes.c_void_p:
    """Return the variable ``stderr`` of glibc, or one without effect for another C library."""
    if platform.libc_ver()[0] != 'glibc':
        return ctypes.c_void_p()
    return ctypes.c_void_p.in_dll(ctypes.CDLL(None), 'stderr')


@cache
def _null_stream() -> int | None:
    """Open the null device as a C stream, which stays open: a thread may still print to it."""
    if platform.libc_ver()[0] != 'glibc':
        return None
    open_stream = ctypes.CDLL(None).fdopen
    open_stream.restype = ctypes.c_void_p
    stream: int | None = open_stream(os.open(os.devnull, os.O_WRONLY), b'w')
    return stream
