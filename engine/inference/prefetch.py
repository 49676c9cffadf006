"""A pipeline that reads ahead and writes behind in threads, in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from common.errors import UserError

MAX_WAITING_ITEMS = 2  # waiting for the computation, and as many waiting to be written
MAX_WAITING_BYTES = 256 << 20  # limits the number of waiting items by the size of their values


def run_pipeline(
    items: Iterable,
    read: Callable[[Any], Any],
    compute: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], None],
    bytes_of: Callable[[Any], int],
    most_ahead: int = MAX_WAITING_ITEMS,
) -> Generator[UserError | None, None, None]:
    """Read, compute and write items in three overlapping stages, and yield their outcomes in order.

    Reading and writing run in one thread each, computing in the caller's thread. Items larger than
    ``MAX_WAITING_BYTES`` are processed one after the other, and so are items with larger results.

    Args:
        items: Items to process.
        read: Function ``read(item) -> value``.
        compute: Function ``compute(item, value) -> result``.
        write: Function ``write(item, result)``.
        bytes_of: Function that returns the size of a value, or of a result, in bytes.
        most_ahead: Maximum number of values that wait for the computation.

    Yields:
        For each item None, or the ``UserError`` that one of its stages raised.

    Raises:
        Exception: Any other exception of a stage ends the iteration. A write in progress is
            completed first.
    """
    pending, ahead, behind = iter(items), 0, 0
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
                small = _most_waiting(bytes_of(value))
                ahead = min(most_ahead, small)
                result = compute(item, value)
                behind = min(small, _most_waiting(bytes_of(result)))
                writes.append(writer.submit(write, item, result))
            except UserError as error:
                writes.append(_failed(error))
            del reading  # frees the memory of the computed item
            value = result = None
            while len(writes) > behind:
                yield _outcome(writes.popleft())
        while writes:
            yield _outcome(writes.popleft())


def _most_waiting(size: int) -> int:
    """Return how many values of so many bytes may wait for the next stage."""
    return min(MAX_WAITING_ITEMS, MAX_WAITING_BYTES // max(1, size))


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """Yield a thread that finishes its current call and drops the rest when the block ends."""
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
