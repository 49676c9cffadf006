"""The queue: places, the order of work, time limits, clients that go away, stopping."""

import asyncio
import threading

import pytest

from engine.serve.refusal import Refusal
from engine.serve.settings import LimitSettings
from engine.serve.workers import THREADS, Workers
from support.served import HANG_SECONDS


class Blocked:
    """Work that lasts until it is released."""

    def __init__(self):
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.released.wait(HANG_SECONDS)
        return 'done'


async def never():
    await asyncio.Event().wait()


async def begun(*works):
    for work in works:
        assert await asyncio.to_thread(work.begun.wait, HANG_SECONDS)


def run_scenario(scenario, **limits):
    """Run a coroutine function that receives the workers; none of its tasks may hang."""

    async def bounded():
        workers = Workers(LimitSettings(**limits))
        await asyncio.wait_for(scenario(workers), HANG_SECONDS)

    asyncio.run(bounded())


async def in_place(workers, work, gone=never):
    with workers.place() as place:
        return await workers.run(place, work, gone())


async def refused(task):
    with pytest.raises(Refusal) as error:
        await task
    return error.value


def test_work_runs_in_the_order_of_arrival():
    order = []

    async def scenario(workers):
        blocked = [Blocked() for _ in range(THREADS)]
        first = [asyncio.create_task(in_place(workers, work)) for work in blocked]
        await begun(*blocked)
        waiting = [
            asyncio.create_task(in_place(workers, lambda number=number: order.append(number)))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        assert (workers.running, workers.waiting) == (THREADS, 5)
        blocked[0].released.set()  # one thread does all of the others
        await asyncio.gather(*waiting)
        blocked[1].released.set()
        assert await asyncio.gather(*first) == ['done'] * THREADS
        assert (workers.running, workers.waiting) == (0, 0)

    run_scenario(scenario)
    assert order == list(range(5))


def test_without_a_place_a_request_is_refused_at_once():
    async def scenario(workers):
        assert workers.capacity == THREADS + 1
        blocked = [Blocked() for _ in range(workers.capacity)]
        tasks = [asyncio.create_task(in_place(workers, work)) for work in blocked]
        await begun(*blocked[:THREADS])
        error = await refused(in_place(workers, Blocked()))
        assert error.status == 503 and error.headers['Retry-After'] == '5'
        assert str(error) == 'the server is busy with 3 requests; try again in 5 seconds'
        for work in blocked:
            work.released.set()
        await asyncio.gather(*tasks)
        assert await in_place(workers, lambda: 'again') == 'again'

    run_scenario(scenario, queue=1)


def test_waiting_ends_at_the_time_limit_and_the_work_never_begins():
    async def scenario(workers):
        blocked = [Blocked() for _ in range(THREADS)]
        tasks = [asyncio.create_task(in_place(workers, work)) for work in blocked]
        await begun(*blocked)
        late = Blocked()
        error = await refused(in_place(workers, late))
        assert error.status == 503 and 'Retry-After' in error.headers
        assert str(error).startswith('the server was busy for 0.2 seconds')
        for work in blocked:
            work.released.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await in_place(workers, lambda: 'next') == 'next'
        assert not late.begun.is_set()

    run_scenario(scenario, time_limit=0.2)


def test_computing_ends_at_the_time_limit_and_keeps_its_place_until_it_ends():
    async def scenario(workers):
        work = Blocked()
        error = await refused(in_place(workers, work))
        assert error.status == 504
        assert str(error).startswith('the computation took longer than 0.2 seconds; send a smaller')
        assert workers.running == 1
        work.released.set()
        while workers.running:
            await asyncio.sleep(0.01)
        assert workers.waiting == 0

    run_scenario(scenario, time_limit=0.2)


def test_the_work_of_a_client_that_is_gone_is_dropped():
    async def scenario(workers):
        blocked = [Blocked() for _ in range(THREADS)]
        tasks = [asyncio.create_task(in_place(workers, work)) for work in blocked]
        await begun(*blocked)
        gone, dropped = asyncio.Event(), Blocked()
        task = asyncio.create_task(in_place(workers, dropped, gone.wait))
        await asyncio.sleep(0.01)
        gone.set()
        assert await task is None
        assert workers.waiting == 0
        for work in blocked:
            work.released.set()
        await asyncio.gather(*tasks)
        assert await in_place(workers, lambda: 'next') == 'next'
        assert not dropped.begun.is_set()

    run_scenario(scenario)


def test_an_error_of_the_work_is_raised():
    async def scenario(workers):
        with pytest.raises(ZeroDivisionError):
            await in_place(workers, lambda: 1 / 0)
        assert (workers.running, workers.waiting) == (0, 0)

    run_scenario(scenario)


def test_stopping_refuses_what_waits_and_finishes_what_runs():
    async def scenario(workers):
        blocked = [Blocked() for _ in range(THREADS)]
        running = [asyncio.create_task(in_place(workers, work)) for work in blocked]
        await begun(*blocked)
        waiting = asyncio.create_task(in_place(workers, Blocked()))
        uploading = asyncio.create_task(workers.unless_stopped(never()))
        await asyncio.sleep(0.01)
        workers.stopping.set()
        for task in (waiting, uploading, in_place(workers, Blocked())):
            error = await refused(task)
            assert error.status == 503 and str(error).startswith('the server stops')
        for work in blocked:
            work.released.set()
        assert await asyncio.gather(*running) == ['done'] * THREADS
        await workers.idle()

    run_scenario(scenario)
