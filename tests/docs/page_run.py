"""Run the blocks of a page from top to bottom, in a copy of the project."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from docs import blocks, commands, elsewhere, outputs, shortened, stage
from docs.session import SECONDS, PythonBlocks, Session
from support import programs

PACKAGES = ('common', 'layers', 'd3net', 'models', 'datasets', 'engine')
INSTALLS = re.compile(
    r'(^|[\s;&])(make|pip|uv|git|sudo|apt-get|conda|docker|sbatch|srun)\s|-m pip\s|-m venv\s'
)
STATE = 'status=$?; pwd >&9; env -0 >&9; exit $status'  # after a command, for the next one


def page_files() -> list[Path]:
    """Return the pages: the documents beside the project and those of docs/."""
    beside = [programs.PROJECT / name for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md')]
    return [*beside, *sorted((programs.PROJECT / 'docs').glob('*.md'))]


class Workshop:
    """The folder in which the pages run, one after the other, and the process that runs commands."""

    def __init__(self, scratch: Path):
        self.scratch = scratch
        self.folder = scratch / 'nnseg'
        (scratch / 'home').mkdir()
        self.environment = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(('PYTEST', 'COV'))
            },
            'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
            'PYTHON': sys.executable,
            'HOME': str(scratch / 'home'),
            'PYTHONPYCACHEPREFIX': str(scratch / 'compiled'),
            'PYTHONUNBUFFERED': '1',
            'OMPI_MCA_mpi_yield_when_idle': '1',  # waiting ranks leave their core to others
            'OMPI_ALLOW_RUN_AS_ROOT': '1',
            'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
            'PRTE_MCA_rmaps_default_mapping_policy': ':oversubscribe',
        }
        self.environment.pop('PYTHONPATH', None)
        self.copy()
        self.session = Session(self.folder, scratch, self.environment)

    def copy(self):
        """Put a fresh copy of the project into the folder, as after cloning."""
        listed = subprocess.run(
            ['git', 'ls-files', '-z', '-co', '--exclude-standard'],
            cwd=programs.PROJECT, capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split('\0')):
            source, target = programs.PROJECT / name, self.folder / name
            if name.split('/')[0] == 'tests' or not source.is_file():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        (self.folder / '.venv').symlink_to(Path(sys.prefix))

    def clear(self, kept_as: str | None):
        """Remove the folder, or keep it under another name."""
        if kept_as:
            self.folder.rename(self.scratch / kept_as)
        else:
            shutil.rmtree(self.folder)

    def close(self):
        """End the process."""
        self.session.close()


@dataclass
class PageRun:
    """The run of one page: the state that its commands hand on, and what went wrong."""

    name: str
    workshop: Workshop
    faults: list[str] = field(default_factory=list)
    times: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self):
        self.cwd, self.environment = self.workshop.folder, dict(self.workshop.environment)
        self.sources = self._sources()
        self.python: PythonBlocks | None = None
        self.background: list[subprocess.Popen] = []

    def run(self, found: list[blocks.Block]):
        """Stage the data, and run the blocks."""
        for stager in stage.STAGE.get(self.name, ()):
            needs = getattr(stager, 'needs', None)
            if needs and not needs.exists() and not os.environ.get('CI'):
                pytest.skip(f'needs the reference material in {needs}')
            stager(self.workshop.folder)
        try:
            for block in found:
                try:
                    self._run_block(block)
                except blocks.PageError as error:
                    self.faults.append(str(error))
        finally:
            if self.python:
                self.python.close()
            for process in self.background:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _fault(self, line: int, what: str, printed: str = ''):
        text = f'{self.name}, line {line}: {what}'
        self.faults.append(f'{text}\n--- printed:\n{printed}' if printed else text)

    def _run_block(self, block: blocks.Block):
        if block.file:
            self._write(block)
        elif block.reason:
            return
        elif block.language == 'sh':
            self._run_sh(block)
        elif block.language == 'python':
            self._run_python(block)
        elif block.language == 'yaml':
            self._check_yaml(block)

    def _write(self, block: blocks.Block):
        path = self.cwd / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(shortened.shortened(self.name, block.code))

    def _run_python(self, block: blocks.Block):
        if self.python is None:
            self.python = self.workshop.session.python(self.cwd, self.environment)
        code = shortened.shortened(self.name, block.code)
        started = time.perf_counter()
        done, printed = self.python.run(code, self.name, block.line)
        self._note(started, f'{self.name}:{block.line} python block')
        if not done:
            self._fault(block.line, 'the block of Python fails', printed)
        else:
            self._compare(block, printed, code != block.code)

    def _run_sh(self, block: blocks.Block):
        fails = outputs.fails_as_shown(block.shown)
        found = commands.split(block, self.name)
        printed, changed, left_out = '', False, 0
        for command in found:
            if command.reason or elsewhere.place(command.text):
                left_out += 1
                continue
            if INSTALLS.search(command.text):
                self._fault(
                    command.line, f'{command.text}: mark it, or name in elsewhere.py what runs it'
                )
                left_out += 1
                continue
            text = shortened.shortened(self.name, command.text)
            changed |= text != command.text
            started = time.perf_counter()
            status, output = self._run_command(text)
            self._note(started, f'{self.name}:{command.line} {command.text}')
            printed += output
            expected = (1, 2) if fails and command is found[-1] else (0,)
            if status not in expected:
                self._fault(
                    command.line, f'{text}\n    ends with status {status}, not {" or ".join(map(str, expected))}',
                    output,
                )  # fmt: skip
        if not left_out:
            self._compare(block, printed, changed)
        elif block.shown is not None and left_out != len(found):
            self._fault(
                block.line,
                'the output below the block is of commands that are run and others; divide it',
            )

    def _compare(self, block: blocks.Block, printed: str, changed: bool):
        if block.shown is not None and not outputs.matches(block.shown, printed, changed):
            self._fault(block.shown_line, f'the page shows\n{block.shown}', printed)

    def _run_command(self, text: str) -> tuple[int, str]:
        """Run a command in the state of those before it; return its exit status and what it printed."""
        if text.endswith('&'):
            return self._start(text[:-1])
        arguments = commands.python_arguments(text)
        if arguments and self._sources() == self.sources and 'PYTHONPATH' not in self.environment:
            return self.workshop.session.run(arguments, self.cwd, self.environment)
        return self._run_bash(text)

    def _run_bash(self, text: str) -> tuple[int, str]:
        output, state = self.workshop.scratch / 'bash_output', self.workshop.scratch / 'bash_state'
        with output.open('wb') as printed, state.open('wb') as kept:
            process = subprocess.Popen(
                ['bash', '-c', f'exec 9>&{kept.fileno()} {kept.fileno()}>&-\n{text}\n{STATE}'],
                cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                pass_fds=[kept.fileno()], start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
        with suppress(ValueError):  # nothing is there after `exit`
            cwd, variables = state.read_bytes().split(b'\n', 1)
            pairs = (each.split(b'=', 1) for each in variables.split(b'\0') if b'=' in each)
            self.cwd = Path(os.fsdecode(cwd))
            self.environment = {os.fsdecode(key): os.fsdecode(value) for key, value in pairs}
        return status, output.read_text(errors='replace')

    def _start(self, text: str) -> tuple[int, str]:
        """Start a command in the background; wait until it prints an address, or ends."""
        output = self.workshop.scratch / f'background_{len(self.background)}'
        with output.open('wb') as printed:
            process = subprocess.Popen(
                ['bash', '-c', f'exec {text}'], cwd=self.cwd, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, start_new_session=True,
            )  # fmt: skip
        self.background.append(process)
        end = time.monotonic() + 60
        while (
            'http://' not in output.read_text()
            and process.poll() is None
            and time.monotonic() < end
        ):
            time.sleep(0.05)
        return process.poll() or 0, output.read_text(errors='replace')

    def _check_yaml(self, block: blocks.Block):
        """Load a part of a config, or of dataset.yaml, as the project does."""
        if re.search(r'^# dataset\.yaml\b', block.code, re.MULTILINE):
            code = CHECK_DATASET
        elif '_base_' in (yaml.safe_load(block.code) or {}):
            code = CHECK_CONFIG
        else:
            code = CHECK_PART
        part = self.workshop.scratch / 'part.yaml'
        part.write_text(block.code)
        if code is CHECK_CONFIG:
            part = self.cwd / 'part_of_a_page.yaml'
            part.write_text(block.code)
        (self.workshop.scratch / 'check_yaml.py').write_text(code)
        arguments = [str(self.workshop.scratch / 'check_yaml.py'), str(part)]
        status, printed = self.workshop.session.run(arguments, self.cwd, self.environment)
        if status:
            self._fault(block.line, 'the project refuses these lines', printed)

    def _sources(self) -> dict[str, tuple[int, int]]:
        """Return time and size of the project's modules: a page may add one, or change one."""
        found = {}
        for package in PACKAGES:
            for path in (self.workshop.folder / package).rglob('*.py'):
                stat = path.stat()
                found[str(path)] = stat.st_mtime_ns, stat.st_size
        return found

    def _note(self, started: float, what: str):
        self.times.append((time.perf_counter() - started, what))


# Each gets the path of a file with the lines of the page. A part has no network of its own, or not
# all of its hyper-parameters, so only its keys and values are checked.
CHECK_CONFIG = """
import sys
from engine import config
config.load(sys.argv[1])
"""
CHECK_PART = """
import sys
from pathlib import Path
from common.reading import yaml_text
from engine.config import loading
path = Path(sys.argv[1])
values = yaml_text.read(path)
loading._check_keys(values, dict.fromkeys(values, path))
"""
CHECK_DATASET = """
import sys
import tempfile
from pathlib import Path
import yaml
from common.reading import yaml_text
from datasets.readers import folder_description
part = yaml_text.read(Path(sys.argv[1]), ('classes',))
root = Path(tempfile.mkdtemp())
for key in ('images', 'labels'):
    (root / part.get(key, key)).mkdir(parents=True, exist_ok=True)
(root / 'dataset.yaml').write_text(yaml.safe_dump({'classes': ['first', 'second'], **part}))
folder_description.read(root)
"""
