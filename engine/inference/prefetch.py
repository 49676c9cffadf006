"""Read ahead and write behind in threads, while an item is computed, in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from common.errors import UserError

AHEAD = 2  # items that wait to be computed, and as many that wait to be written
BUDGET = 256 << 20  # bytes of inputs, of which no more wait than fit


def overlapped(
    items: Iterable,
    read: Callable[[Any], Any],
    compute: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], None],
    bytes_of: Callable[[Any], int],
) -> Generator[UserError | None, None, None]:
    """What became of each item, in order: None, or the ``UserError`` that was raised for it.

    ``read(item)`` runs in a thread of its own, and so does ``write(item, result)``;
    ``result = compute(item, value)`` runs in this one. bytes_of: the size of what was read. Where
    items are so large that no second one fits in the budget, they are done one after the other.
    Any other exception ends the iteration; what is being written is then written to its end.
    """
    pending, ahead = iter(items), 0
    reads: deque[tuple[Any, Future]] = deque()
    writes: deque[Future] = deque()
    with _thread() as reader, _thread() as writer:
        while True:
            while len(reads) <= ahead:
                item = next(pending, None)
                if item is None:
                    break
                reads.append((item, reader.submit(read, item)))
            if not reads:
                break
            item, reading = reads.popleft()
            try:
                value = reading.result()
                ahead = min(AHEAD, BUDGET // max(1, bytes_of(value)))
                writes.append(writer.submit(write, item, compute(item, value)))
            except UserError as error:
                writes.append(_failed(error))
            del reading  # what is computed needs no memory any more
            value = None
            while len(writes) > ahead:
                yield _outcome(writes.popleft())
        while writes:
            yield _outcome(writes.popleft())


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that, when the block ends badly, ends after what it is doing."""
    executor = ThreadPoolExecutor(1)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _failed(error: UserError) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


def _outcome(future: Future) -> UserError | None:
    error = future.exception()
    if error is not None and not isinstance(error, UserError):
        raise error
    return error
