"""Run children that read inputs; find the inputs at which they hang or die."""

import json
import os
import selectors
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fuzz import child, outcomes
from fuzz.inputs import Maker
from fuzz.outcomes import Outcome
from fuzz.settings import Limits

_INPUTS_PER_CHILD = 300  # then a new one takes its place: damage can leave leaks in libraries


@dataclass
class _Child:
    """A child process, and the input that it reads."""

    process: int
    commands: BinaryIO
    results: BinaryIO
    folder: Path
    number: int | None = None
    started: float = 0
    received: bytes = b''
    count: int = 0


def read_all(maker: Maker, numbers: Iterable[int], jobs: int, limits: Limits) -> Iterator[Outcome]:
    """Read inputs in child processes.

    Args:
        maker: Makes the inputs.
        numbers: The numbers of the inputs.
        jobs: Number of child processes.
        limits: Limits of an input.

    Yields:
        The outcomes, in the order in which they arrive.
    """
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
        pool = _Pool(maker, Path(folder), limits)
        try:
            yield from pool.run(iter(numbers), jobs)
        finally:
            pool.close()


class _Pool:
    """The children that are alive."""

    def __init__(self, maker: Maker, folder: Path, limits: Limits):
        self._maker, self._folder, self._limits = maker, folder, limits
        self._children: dict[int, _Child] = {}  # by the descriptor of their results
        self._selector = selectors.DefaultSelector()

    def run(self, numbers: Iterator[int], jobs: int) -> Iterator[Outcome]:
        """Yield the outcomes of all inputs."""
        for _ in range(jobs):
            self._hand_out(None, numbers)
        while self._children:
            for key, _ in self._selector.select(timeout=self._wait()):
                each = self._children[key.fd]
                received = os.read(key.fd, 1 << 16)
                each.received += received
                if not received:
                    yield self._died(each)
                    self._hand_out(None, numbers)
                elif each.received.endswith(b'\n'):
                    yield _outcome(each.received)
                    self._hand_out(each, numbers)
            for each in [c for c in self._children.values() if self._left(c) <= 0]:
                yield self._hung(each)
                self._hand_out(None, numbers)

    def close(self) -> None:
        """Kill all children."""
        for each in list(self._children.values()):
            os.kill(each.process, signal.SIGKILL)
            self._remove(each)

    def _hand_out(self, each: _Child | None, numbers: Iterator[int]) -> None:
        """Give the next input to a child, or to a new one."""
        number = next(numbers, None)
        if each is not None and (number is None or each.count >= _INPUTS_PER_CHILD):
            self._remove(each)
            each = None
        if number is None:
            return
        each = each or self._fork()
        each.number, each.started, each.received = number, time.monotonic(), b''
        each.count += 1
        with suppress(BrokenPipeError):  # it has died; run() reads the end of its results
            each.commands.write(b'%d\n' % number)
            each.commands.flush()

    def _fork(self) -> _Child:
        commands, results = os.pipe(), os.pipe()
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        process = os.fork()
        if not process:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the children
                os.close(commands[1])
                os.close(results[0])
                for other in self._children.values():
                    other.commands.close()
                    other.results.close()
                with os.fdopen(commands[0], 'rb') as numbers, os.fdopen(results[1], 'wb') as out:
                    child.serve(numbers, out, folder, self._maker, self._limits)
            finally:
                os._exit(1)  # must not return into the parent's code
        os.close(commands[0])
        os.close(results[1])
        each = _Child(process, os.fdopen(commands[1], 'wb'), os.fdopen(results[0], 'rb'), folder)
        self._children[each.results.fileno()] = each
        self._selector.register(each.results, selectors.EVENT_READ)
        return each

    def _remove(self, each: _Child) -> int:
        """Forget a child that ends now; return its status as ``os.waitpid`` does."""
        self._selector.unregister(each.results)
        del self._children[each.results.fileno()]
        with suppress(BrokenPipeError):
            each.commands.close()
        each.results.close()
        status = os.waitpid(each.process, 0)[1]
        shutil.rmtree(each.folder, ignore_errors=True)
        return status

    def _died(self, each: _Child) -> Outcome:
        seconds, printed = time.monotonic() - each.started, _printed(each)
        code = os.waitstatus_to_exitcode(self._remove(each))
        what = signal.Signals(-code).name if code < 0 else f'exit status {code}'
        return self._failed(each, outcomes.SIGNAL, f'{what}\n{printed}', what, seconds)

    def _hung(self, each: _Child) -> Outcome:
        seconds = time.monotonic() - each.started
        os.kill(each.process, signal.SIGKILL)
        printed = _printed(each)
        self._remove(each)
        return self._failed(each, outcomes.HANG, printed, _innermost(printed), seconds)

    def _failed(self, each: _Child, kind: str, detail: str, place: str, seconds: float) -> Outcome:
        assert each.number is not None  # a child that reads nothing waits for a number
        read = self._maker.make(each.number)
        return Outcome(
            each.number,
            read.reader.name,
            read.origin,
            read.mutations,
            kind,
            detail[-child.LONGEST_DETAIL :],
            place,
            seconds=round(seconds, 4),
            input_sha256=read.sha256(),
        )

    def _wait(self) -> float:
        return max(0, min(map(self._left, self._children.values()), default=0))

    def _left(self, each: _Child) -> float:
        return each.started + self._limits.seconds - time.monotonic()


def _outcome(line: bytes) -> Outcome:
    fields: dict[str, Any] = json.loads(line)
    lists = ('mutations', 'digests')  # JSON has no tuples
    return Outcome(**(fields | {name: tuple(fields[name]) for name in lists}))


def _printed(each: _Child) -> str:
    """Return what a child has printed, and the stack where it hung or died."""
    texts = [each.folder / name for name in (child.PRINTED, child.STACK)]
    return ''.join(path.read_text(errors='backslashreplace') for path in texts if path.exists())


def _innermost(printed: str) -> str:
    """Return the first line of a traceback of faulthandler that is not the library's."""
    lines = [line.strip() for line in printed.splitlines() if line.strip().startswith('File')]
    own = [line for line in lines if 'site-packages' not in line and '/lib/python' not in line]
    return (own or lines or [''])[0]
