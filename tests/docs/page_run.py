"""Run the blocks of a page from top to bottom, in a copy of the project."""

import os
import re
import resource
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.files import CACHE_VARIABLE
from docs import blocks, commands, elsewhere, outputs, shortened, stage, yaml_parts
from docs.session import SECONDS, Finished, PythonBlocks, end_group, read
from docs.workshop import Workshop
from support import programs

# What changes the machine, or needs another one. In a page it has a mark, or a line in elsewhere.
NOT_HERE = {
    r'(^|[\s;&|])(pip|uv|git|sudo|apt-get|brew|conda|docker|sbatch|srun|ssh|scp)\s': 'this program',
    r'-m (pip|venv)\s': 'a change of the environment',
    r'\b(https?|rtsp)://(?!127\.0\.0\.1|localhost)': 'another host',
}
# Before and after a command in bash: the next command gets its folder and its variables.
STATE = 'exec 9>{}\n{}\nstatus=$?; {{ pwd; env -0; }} >&9; exit $status'
START_SECONDS = 60  # for a server to print its address
PAGES = [
    *(programs.PROJECT / name for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md')),
    *sorted((programs.PROJECT / 'docs').glob('*.md')),
]


@dataclass
class Timed:
    """What a command or a block took: seconds by the clock and of the CPU, and which it is."""

    seconds: float
    cpu_seconds: float
    what: str


@dataclass
class PageRun:
    """The run of one page: the state that its commands hand on, and what went wrong.

    Attributes:
        name: The page's file name.
        workshop: The folder in which it runs.
        faults: What went wrong, each with page and line.
        times: What its commands took.
    """

    name: str
    workshop: Workshop
    faults: list[str] = field(default_factory=list)
    times: list[Timed] = field(default_factory=list)

    def __post_init__(self):
        self._cwd = self.workshop.folder
        cache = self.workshop.scratch / f'cache_{self.name}'  # empty, whichever page ran before
        self._environment = {**self.workshop.environment, CACHE_VARIABLE: str(cache)}
        self._sources = self.workshop.sources()
        self._python: PythonBlocks | None = None
        self._background: list[subprocess.Popen] = []

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
            self._end()

    def _end(self):
        """End the processes of the page."""
        if self._python:
            self._python.close()
        for process in self._background:
            end_group(process.pid)
            process.wait()

    def _fault(self, line: int, what: str, printed: str | None = None):
        text = f'{self.name}, line {line}: {what.rstrip()}'
        self.faults.append(text if printed is None else f'{text}\n--- printed:\n{printed}')

    def _run_block(self, block: blocks.Block):
        if block.file:
            self._write(block)
        elif block.reason is None and block.language in ('sh', 'python', 'yaml'):
            run = {'sh': self._run_sh, 'python': self._run_python, 'yaml': self._check_yaml}
            run[block.language](block)

    def _write(self, block: blocks.Block):
        path = self._cwd / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shortened.shortened(self.name, block.code), encoding='utf-8')

    def _run_python(self, block: blocks.Block):
        if self._python is None:
            self._python = self._new_python()
        code = shortened.shortened(self.name, block.code)
        finished = self._timed(
            f'{self.name}:{block.line} (python)', self._python.run, code, self.name, block.line
        )
        if finished.status:
            self._fault(block.line, 'the block of Python fails', finished.printed)
        else:
            self._compare(block, finished.printed, code != block.code)

    def _new_python(self) -> PythonBlocks:
        if self._modules_are_as_cloned():
            return self.workshop.session.python(self._cwd, self._environment)
        return PythonBlocks.of_its_own(self._cwd, self.workshop.scratch, self._environment)

    def _run_sh(self, block: blocks.Block):
        found = commands.split(block, self.name)
        here = [c for c in found if c.reason is None and not elsewhere.place(c.text)]
        printed, changed = '', False
        for command in here:
            text = shortened.shortened(self.name, command.text)
            reason = self._not_here(text)
            if reason:
                self._fault(command.line, f'{text}: {reason}; mark it (# not run here: REASON)')
                return
            changed |= text != command.text
            finished = self._timed(f'{self.name}:{command.line} {text}', self._run_command, text)
            printed += finished.printed
            fails = outputs.shows_an_error(block.shown) and command is here[-1]
            if finished.status not in ((1, 2) if fails else (0,)):
                expected = '1 or 2, as the error below it says' if fails else '0'
                what = f'{text}\n    ends with status {finished.status}, not {expected}'
                self._fault(command.line, what, finished.printed)
        if block.shown is None or not here:
            return
        if len(here) < len(found):
            what = 'the text below shows what some commands print that are not run here: divide it'
            self._fault(block.line, what)
        else:
            self._compare(block, printed, changed)

    def _not_here(self, text: str) -> str | None:
        """Return why a command must not run in a test."""
        for pattern, what in NOT_HERE.items():
            if re.search(pattern, text):
                return what
        if text.startswith('make ') and self.workshop.changes_the_environment(text):
            return 'it installs packages'
        return None

    def _compare(self, block: blocks.Block, printed: str, changed: bool):
        if block.shown is not None and not outputs.matches(block.shown, printed, changed):
            self._fault(block.shown_line, f'the page shows\n{block.shown}', printed)

    def _run_command(self, text: str) -> Finished:
        """Run a command in the state that those before it left."""
        if text.endswith('&'):
            return self._start(text[:-1])
        arguments = commands.python_arguments(text)
        plain = 'PYTHONPATH' not in self._environment and self._modules_are_as_cloned()
        if arguments and plain and (arguments[0] == '-m' or (self._cwd / arguments[0]).is_file()):
            return self.workshop.session.run(arguments, self._cwd, self._environment)
        return self._run_bash(text)

    def _modules_are_as_cloned(self) -> bool:
        """Return whether the session's process has the modules that a new process would have."""
        return self.workshop.sources() == self._sources

    def _run_bash(self, text: str) -> Finished:
        state, output = (self.workshop.scratch / name for name in ('state', 'printed'))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = self._bash(STATE.format(state, text), output)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS)
        end_group(process.pid)
        status = process.wait()
        cwd, _, variables = read(state).partition('\n') if state.exists() else ('', '', '')
        if cwd:  # it is missing after `exit`
            self._cwd = Path(cwd)
            pairs = (each.split('=', 1) for each in variables.split('\0') if '=' in each)
            self._environment = dict(pairs)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Finished(status, read(output), cpu)

    def _start(self, text: str) -> Finished:
        """Start a command in the background; wait until it prints an address, or ends."""
        output = self.workshop.scratch / f'background_{len(self._background)}'
        process = self._bash(f'exec {text}', output)
        self._background.append(process)
        end = time.monotonic() + START_SECONDS
        while 'http://' not in output.read_text() and process.poll() is None:
            if time.monotonic() > end:
                return Finished(-1, output.read_text(), 0)
            time.sleep(0.05)
        return Finished(process.poll() or 0, output.read_text(), 0)

    def _bash(self, text: str, output: Path) -> subprocess.Popen:
        with output.open('wb') as printed:
            return subprocess.Popen(
                ['bash', '-c', text],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )

    def _check_yaml(self, block: blocks.Block):
        """Let the project read a part of a config or of ``dataset.yaml``."""
        part, program = self._cwd / 'a_part_of_the_page.yaml', self.workshop.scratch / 'program.py'
        part.write_text(block.code)
        program.write_text(yaml_parts.program(block.code))
        finished = self.workshop.session.run(
            [str(program), str(part)], self._cwd, {**self._environment, 'PYTHONPATH': ''}
        )
        part.unlink()
        if finished.status:
            self._fault(block.line, 'the project refuses these lines', finished.printed)

    def _timed(self, what: str, run, *arguments) -> Finished:
        started = time.perf_counter()
        finished = run(*arguments)
        self.times.append(Timed(time.perf_counter() - started, finished.cpu_seconds, what))
        return finished
