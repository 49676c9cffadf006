"""The folder in which pages run: a copy of the project, as a reader has after cloning it."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
        (self.folder / '.venv').symlink_to(Path(sys.prefix))

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
        record = self.folder / '.venv' / 'installed.json'
        installed = json.loads(record.read_text()) if record.exists() else {}
        return any(
            hashlib.sha256((self.folder / name).read_bytes()).hexdigest() != installed.get(name)
            for names in re.findall(r' tools/bootstrap\.py (.*)', process.stdout)
            for name in names.split()
        )

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
