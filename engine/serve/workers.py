"""Admit requests, and run their work in threads: a bounded queue with a time limit.

A request takes a place before its body is read, and keeps it until it is answered and its work, if
it has begun, has ended: work that runs cannot be stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from engine.serve.refusal import Refusal, busy
from engine.serve.settings import LimitSettings

POLLING_SECONDS = 0.05
THREADS = 2  # one decodes and encodes while the other one computes
Result = TypeVar('Result')


class Place:
    """The place of one request."""

    def __init__(self) -> None:
        self.work: Future | None = None

    @property
    def running(self) -> bool:
        """Whether the work of the request is in a thread."""
        return self.work is not None and self.work.running()


class Workers:
    """The places of requests and the threads of their work.

    Attributes:
        capacity: Number of places.
        stopping: Set when the server stops: requests that wait are refused.
    """

    def __init__(self, limits: LimitSettings):
        self.capacity = THREADS + limits.queue
        self.stopping = asyncio.Event()
        self._limit = limits.time_limit
        self._threads = ThreadPoolExecutor(THREADS, 'segment')
        self._places: set[Place] = set()

    @property
    def running(self) -> int:
        """Number of requests whose work is in a thread."""
        return sum(place.running for place in tuple(self._places))

    @property
    def waiting(self) -> int:
        """Number of the other requests that have a place."""
        return len(self._places) - self.running

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Take a place, at once or not at all.

        Raises:
            Refusal: No place is free, or the server stops.
        """
        if self.stopping.is_set():
            raise _stopping()
        if len(self._places) >= self.capacity:
            raise busy(f'the server is busy with {self.capacity} requests')
        place = Place()
        self._places.add(place)
        try:
            yield place
        finally:
            if place.work is None:
                self._places.discard(place)
            else:  # at once, unless it still runs
                place.work.add_done_callback(lambda _: self._places.discard(place))

    async def idle(self) -> None:
        """Wait until every place is free, at most as long as a computation may take."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_free(), self._limit)

    async def _all_free(self) -> None:
        while self._places:
            await asyncio.sleep(POLLING_SECONDS)

    async def unless_stopped(self, task: Awaitable[Result]) -> Result:
        """Wait for a task that ends early when the server stops.

        Raises:
            Refusal: The server stops.
        """
        future, stopping = asyncio.ensure_future(task), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((future, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise _stopping()
            return future.result()
        finally:
            await _cancel(future, stopping)

    async def run(
        self, place: Place, work: Callable[[], Result], gone: Awaitable[object]
    ) -> Result | None:
        """Run work in a thread and return its result; None if the client went away before.

        Args:
            place: The place of the request.
            work: The work.
            gone: Ends when the client goes away.

        Raises:
            Refusal: The work has not begun, or not ended, within the time limit, or the server
                stops before it begins.
        """
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def begin() -> Result:
            loop.call_soon_threadsafe(begun.set)
            return work()

        place.work = future = self._threads.submit(begin)
        ending, leaving = asyncio.wrap_future(future), asyncio.ensure_future(gone)
        events = [asyncio.ensure_future(each.wait()) for each in (begun, self.stopping)]
        try:
            await asyncio.wait(
                (*events, leaving), timeout=self._limit, return_when=asyncio.FIRST_COMPLETED
            )
            if future.cancel():
                if leaving.done():
                    return None
                raise (
                    _stopping()
                    if self.stopping.is_set()
                    else busy(f'the server was busy for {self._limit:g} seconds')
                )
            await asyncio.wait(
                (ending, leaving), timeout=self._limit, return_when=asyncio.FIRST_COMPLETED
            )
            if ending.done():
                return ending.result()
            if leaving.done():
                return None
            raise Refusal(
                504,
                f'the computation took longer than {self._limit:g} seconds; send a smaller picture '
                'or give a smaller scale, or start the server with a larger --time-limit',
            )
        finally:
            await _cancel(ending, leaving, *events)


def _stopping() -> Refusal:
    return busy('the server stops')


async def _cancel(*tasks: asyncio.Future) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
