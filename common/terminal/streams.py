"""Keep a command running when standard output or standard error cannot be written.

What is printed is printable text: control characters are written as escapes.

    with streams.guarded() as output:
        main()
    print(output.failure)

The module uses the standard library only.
"""

from __future__ import annotations  # lets an older Python import this module

import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO, cast

from common.terminal.printable import printable

BROKEN = OSError, ValueError  # raised by writing; ValueError: the stream was closed


class GuardedStream:
    """A text stream that records a failure to write instead of raising it.

    Control characters, and those that the stream's encoding lacks, are written as escapes.
    Everything but writing is passed on to the stream.

    Args:
        stream: The stream to write to.

    Attributes:
        failure: The first failure; None without one.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write a text, if that is possible."""
        self.write_unfiltered(printable(text))
        return len(text)

    def write_unfiltered(self, text: str) -> int:
        """Write a text that may control the terminal, if that is possible."""
        write = getattr(self._stream, 'write_unfiltered', self._stream.write)  # of a guard inside
        with self._recorded():
            try:
                write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or 'ascii'
                write(text.encode(encoding, 'backslashreplace').decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, if that is possible."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the buffered text, if that is possible."""
        with self._recorded():
            self._stream.flush()

    def finish(self) -> None:
        """Flush, and discard what cannot be written, since the interpreter flushes again."""
        with self._recorded():
            try:
                self._stream.flush()
            except BROKEN:
                self._discard()
                raise

    def _discard(self) -> None:
        """Redirect the descriptor to the null device, and flush the buffer to it."""
        with suppress(*BROKEN):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            self._stream.flush()

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        try:
            yield
        except BROKEN as error:
            self.failure = self.failure or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Unfiltered:
    """A guarded stream for text that moves the cursor. It equals the guard, as tqdm compares."""

    def __init__(self, guard: GuardedStream):
        self._guard = guard

    def write(self, text: str) -> int:
        return self._guard.write_unfiltered(text)

    def __eq__(self, other: object) -> bool:
        return other is self._guard

    def __hash__(self) -> int:
        return hash(self._guard)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)


def unfiltered(stream: TextIO) -> TextIO:
    """Return a stream that passes control characters on, for progress bars only."""
    return cast(TextIO, _Unfiltered(stream)) if isinstance(stream, GuardedStream) else stream


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback as printable text on standard error, as ``sys.excepthook``."""
    text = printable(''.join(traceback.format_exception(kind, error, trace)))
    GuardedStream(sys.stderr or _null_stream()).write(text)


@contextmanager
def guarded() -> Iterator[GuardedStream]:
    """Guard standard output and standard error inside the block.

    Descriptors 0 to 2 that are closed become the null device. Otherwise the next opened file would
    get the number of standard output, and what a library prints would be written into that file.

    Yields:
        The guard of standard output.
    """
    before = sys.stdout, sys.stderr
    output, errors = guard()
    try:
        yield output
    finally:
        output.finish()
        errors.finish()
        sys.stdout, sys.stderr = before


def guard() -> tuple[GuardedStream, GuardedStream]:
    """Guard standard output and standard error from now on, and return both guards."""
    _open_closed_descriptors()
    output, errors = (
        GuardedStream(stream or _null_stream()) for stream in (sys.stdout, sys.stderr)
    )
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    return output, errors


def output_is_lost() -> bool:
    """Return whether standard output is guarded and can no longer be written."""
    return getattr(sys.stdout, 'failure', None) is not None


def _open_closed_descriptors() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)  # makes it inheritable, too
            if null != number:
                os.close(null)


def _null_stream() -> TextIO:
    """Return a stream for a standard stream that was closed when Python started."""
    return open(os.devnull, 'w', encoding='utf-8')
