"""The folder in which pages run: a copy of the project, as a reader has after cloning it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

from docs.session import Session
from support import programs

PACKAGES = ('common', 'layers', 'd3net', 'models', 'datasets', 'engine')
# What a reader's shell does not have, and what says where caches are: the tests' own are in HOME.
UNSET = (
    'PYTHONPATH',
    'NNSEG_CACHE',
    'XDG_CACHE_HOME',
    'MAKEFLAGS',
    'MAKELEVEL',
    'MFLAGS',
    'NO_PROXY',
)
UNPUBLISHED = ('.git', 'tests')
RECORD = 'installed.json'  # of tools/bootstrap.py: which requirement files are installed
PROXIES = ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY')


class Workshop:
    """The folder, the environment of its commands, and the process that runs most of them.

    Attributes:
        scratch: Folder of all files of the tests of pages.
        folder: Where the project lies, below ``scratch``.
        environment: The environment variables with which a page begins.
        session: The process.
    """

    def __init__(self, scratch: Path):
        self.scratch, self.folder = scratch, scratch / 'nnseg'
        (scratch / 'home').mkdir()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in UNSET and not name.startswith('PYTEST')
        }
        self.environment = {
            **inherited,
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            'HOME': str(scratch / 'home'),
            'PYTHONPYCACHEPREFIX': str(scratch / 'compiled'),  # the next copy finds it again
            'PYTHONUNBUFFERED': '1',  # so that output and errors keep their order
            **dict.fromkeys(PROXIES, 'http://127.0.0.1:9'),  # no host is reached but this one
            'no_proxy': '127.0.0.1,localhost',
            'OMPI_MCA_mpi_yield_when_idle': '1',  # waiting ranks leave their core to others
            'OMPI_ALLOW_RUN_AS_ROOT': '1',
            'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
            'PRTE_MCA_rmaps_default_mapping_policy': ':oversubscribe',  # more ranks than cores
        }
        self.renew()
        self.session = Session(self.folder, scratch, self.environment)

    def renew(self):
        """Put a fresh copy of the project into the folder, unless one is there."""
        if self.folder.exists():
            return
        for name in _published_files():
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(programs.PROJECT / name, target)  # with times, for the compiled files
        environment = self.folder / '.venv'
        environment.mkdir()
        for path in Path(sys.prefix).iterdir():
            if path.name != RECORD:
                (environment / path.name).symlink_to(path)
        installed = filter(_is_installed, self.folder.glob('requirements*.txt'))
        (environment / RECORD).write_text(
            json.dumps({path.name: sha256(path.read_bytes()).hexdigest() for path in installed})
        )

    def clear(self, keep_as: str | None = None):
        """Remove the folder, or keep it under another name."""
        if keep_as:
            self.folder.rename(self.scratch / keep_as)
        else:
            shutil.rmtree(self.folder)

    def changes_the_environment(self, command: str) -> bool:
        """Return whether a command of make would install something."""
        process = subprocess.run(
            ['make', '-n', *shlex.split(command)[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        installed = json.loads((self.folder / '.venv' / RECORD).read_text())
        wanted = re.findall(r' tools/bootstrap\.py (.*)', process.stdout)
        return not installed.keys() >= set(' '.join(wanted).split())

    def sources(self) -> dict[str, tuple[int, int]]:
        """Return times and sizes of the project's modules: a page may add or change one."""
        found = {}
        for package in PACKAGES:
            for path in (self.folder / package).rglob('*.py'):
                stat = path.stat()
                found[str(path)] = stat.st_mtime_ns, stat.st_size
        return found

    def close(self):
        """End the process."""
        self.session.close()


@cache
def _versions() -> dict[str, str]:
    """Return the versions of all installed packages, by canonical name."""
    return {canonicalize_name(each.name): each.version for each in metadata.distributions()}


def _is_installed(requirements: Path) -> bool:
    """Return whether the packages that a file pins are installed in these versions."""
    lines = [line.split('#')[0].split(';')[0].strip() for line in requirements.open()]
    pins = [line.split('==') for line in lines if '==' in line]
    return all(_versions().get(canonicalize_name(name)) == version for name, version in pins)


def _published_files() -> Iterator[str]:
    """Yield the paths of the project's files that git does not ignore, without the tests."""
    ignored = GitIgnoreSpec.from_lines((programs.PROJECT / '.gitignore').read_text().splitlines())
    for folder, folders, files in os.walk(programs.PROJECT):
        below = Path(folder).relative_to(programs.PROJECT)
        folders[:] = [
            name
            for name in folders
            if not ignored.match_file(f'{below / name}/') and str(below / name) not in UNPUBLISHED
        ]
        for name in files:
            path = str(below / name)
            if path not in UNPUBLISHED and not ignored.match_file(path):
                yield path
