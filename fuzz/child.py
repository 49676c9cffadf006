"""Read inputs in a child process, and judge what happens."""

import errno
import faulthandler
import gc
import io
import json
import logging
import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import cv2

from common import PROJECT, once
from common.errors import UserError
from common.files import CACHE_VARIABLE
from common.log import LOG
from common.terminal.short_repr import short_repr
from fuzz import outcomes
from fuzz.inputs import Content, Input, Maker
from fuzz.outcomes import Outcome
from fuzz.settings import Limits

PRINTED, STACK = 'printed', 'stack'  # files in a child's folder, for the parent when it dies
LONGEST_DETAIL = 4000  # characters of a traceback or of printed text
# Address space beyond the allowance. An allocation is refused there, untouched memory included.
_SPARE_BYTES = 2 << 30
_DUMPED_AT = 0.9  # of the limit of time: the stack of a reader that hangs
_FOLDER = Path(__file__).resolve().parent


class _KeptLog(logging.Handler):
    """Keeps logged lines, which must be printable as well, as a command shows them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []
        for handler in logging.getLogger().handlers:  # that of common.log.set_up
            self.setFormatter(handler.formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(self.format(record))


def serve(
    commands: BinaryIO, results: BinaryIO, folder: Path, maker: Maker, limits: Limits
) -> NoReturn:
    """Read the inputs whose numbers arrive, one per line, and send an outcome for each.

    Args:
        commands: Where the numbers arrive.
        results: Where the outcomes go, as JSON, one per line.
        folder: A folder of this process for the files of the inputs and for what is printed.
        maker: Makes the inputs.
        limits: Limits of an input.
    """
    examiner = _Examiner(folder, limits)
    _limit_address_space(limits)
    gc.freeze()
    for line in commands:
        outcome = examiner.examine(maker.make(int(line)))
        results.write(json.dumps(asdict(outcome)).encode() + b'\n')
        results.flush()
    os._exit(0)


class _Examiner:
    """Reads inputs and judges what happens; it takes over the output of this process.

    Args:
        folder: Where the files of the inputs and what is printed go.
        limits: Limits of an input.
    """

    def __init__(self, folder: Path, limits: Limits):
        self._folder, self._limits = folder, limits
        self._printed = io.FileIO(folder / PRINTED, 'w+')
        for descriptor in (1, 2):
            os.dup2(self._printed.fileno(), descriptor)
        self._stack = io.FileIO(folder / STACK, 'w')
        faulthandler.enable(self._stack)  # writes where a signal arose
        # Each input shows its own, whatever was read before; those that commands hide stay hidden.
        warnings.simplefilter('always', append=True)
        cv2.setNumThreads(0)  # threads of the parent do not exist in this process
        self._log = _KeptLog()
        LOG.addHandler(self._log)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False

    def examine(self, each: Input) -> Outcome:
        """Read an input and return what became of it."""
        self._log.messages.clear()
        self._printed.seek(0)
        self._printed.truncate(0)
        once.reset()
        with _files_of(each.content, self._folder) as root:
            opened = root / each.content.opened
            os.environ[CACHE_VARIABLE] = str(root / 'cache')
            before = _reset_peak()
            faulthandler.dump_traceback_later(_DUMPED_AT * self._limits.seconds, file=self._stack)
            started = time.monotonic()
            value, error = _read(each, opened)
            seconds = time.monotonic() - started
            faulthandler.cancel_dump_traceback_later()
            grown = max(0, _peak() - before)
            kind, detail, place = self._judge(each, root, error)
            if kind in (outcomes.READ, outcomes.REFUSED):
                excess = self._excess(each, opened, error, grown)
                if excess:
                    kind, detail = outcomes.MEMORY, f'{excess}; {detail}'
                    place = _place_of(error) if error else ''
        digests: tuple[str, ...] = ()
        if kind == outcomes.READ:
            digests = tuple(outcomes.digest(part) for part in each.reader.parts(value))
        if each.number < 0 and kind == outcomes.REFUSED:
            kind = outcomes.WRONG
        elif each.number < 0 and kind == outcomes.READ and not each.content.is_right(value):
            kind, detail = outcomes.WRONG, f'an undamaged file is read as {short_repr(value)}'
        return Outcome(
            each.number,
            each.reader.name,
            each.origin,
            each.mutations,
            kind,
            detail[-LONGEST_DETAIL:],
            place,
            digests,
            each.reader.has_checksums and not each.forged,
            round(seconds, 4),
            grown,
            each.sha256(),
        )

    def _judge(self, each: Input, root: Path, error: BaseException | None) -> tuple[str, str, str]:
        """Return kind, detail and place, without regard to memory."""
        self._printed.seek(0)
        text = self._printed.read().decode(errors='backslashreplace')
        if error is not None and not isinstance(error, UserError):
            shown = ''.join(traceback.format_exception(error))
            return outcomes.TRACEBACK, shown, f'{type(error).__name__} {_place_of(error)}'
        if text:
            return outcomes.RAW_OUTPUT, text, _without_numbers(text.splitlines()[0])[:60]
        odd = next((t for t in self._log.messages if any(map(outcomes.is_control, t))), None)
        if odd is not None:
            return outcomes.MESSAGE, f'the log has {odd!r}', odd[:60]
        if error is None:
            return outcomes.READ, '', ''
        names = [Path(path).name for path in each.content.files]
        fault = outcomes.message_fault(str(error), root, names)
        if fault is not None:
            return outcomes.MESSAGE, f'{fault}: {str(error)!r}', _place_of(error)
        return outcomes.REFUSED, str(error), ''

    def _excess(
        self, each: Input, opened: Path, error: BaseException | None, grown: int
    ) -> str | None:
        """Return how a reader took too much memory; None if it did not."""
        allowed = self._limits.memory_bytes
        failed = error is not None and _is_out_of_memory(error)
        if grown <= allowed and not failed:
            return None
        with suppress(Exception):  # the declaration itself can be damaged
            allowed += each.reader.declared_bytes(opened)
        if grown > allowed:
            return f'{grown >> 20} MiB, allowed are {allowed >> 20}'
        if failed and allowed <= self._limits.memory_bytes + _SPARE_BYTES:
            return 'an allocation failed'
        return None


def _read(each: Input, opened: Path) -> tuple[Any, BaseException | None]:
    """Return what the reader returns, and what it raises."""
    try:
        return each.reader.read(opened), None
    except BaseException as error:  # also SystemExit: no reader may raise it
        return None, error
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed, or a cause of this error is that one did."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, MemoryError) or getattr(chain, 'errno', None) == errno.ENOMEM:
            return True
        if isinstance(chain, cv2.error) and chain.code == cv2.Error.StsNoMem:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _place_of(error: BaseException) -> str:
    """Return the innermost line of the project in a traceback, without those of the fuzzer."""
    places = [
        f'{Path(frame.filename).relative_to(PROJECT)}:{frame.lineno}'
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(PROJECT)
        and not Path(frame.filename).is_relative_to(PROJECT / '.venv')
    ]
    own = [place for place in places if not place.startswith(f'{_FOLDER.name}/')]
    return (own or places or [''])[-1]


def _without_numbers(text: str) -> str:
    """Return a line of a library without numbers, so that equal complaints are grouped."""
    return re.sub(r'0x[0-9a-f]+|\d+', 'N', text)


@contextmanager
def _files_of(content: Content, folder: Path) -> Iterator[Path]:
    """Write the files of an input into a new folder, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(dir=folder))
    try:
        write_files(content, root)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def write_files(content: Content, root: Path) -> None:
    """Write the files of an input below a folder."""
    for name, data in content.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _limit_address_space(limits: Limits) -> None:
    most = _status('VmSize') + limits.memory_bytes + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reset_peak() -> int:
    """Make the kernel record the peak of this process's memory anew; return what it is now."""
    Path('/proc/self/clear_refs').write_text('5')
    return _status('VmRSS')


def _peak() -> int:
    return _status('VmHWM')


def _status(name: str) -> int:
    """Return an entry of /proc/self/status in bytes."""
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        if line.startswith(f'{name}:'):
            return int(line.split()[1]) << 10
    raise ValueError(f'/proc/self/status has no {name}')
