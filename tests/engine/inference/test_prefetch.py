"""The pipeline of reading, computing and writing: order, bounded memory, overlap, errors."""

import threading
import time

import pytest

from common.errors import InputError, UserError
from engine.inference import prefetch
from engine.inference.prefetch import run_pipeline


class Traced:
    """Stages of a pipeline of numbers; counts the items between reading and the end of writing."""

    def __init__(self, size=1, seconds=0.0):
        self.size, self.seconds = size, seconds
        self.inside, self.most, self.written, self.threads = 0, 0, [], set()
        self.lock = threading.Lock()

    def _change(self, by):
        with self.lock:
            self.inside += by
            self.most = max(self.most, self.inside)
            self.threads.add(threading.current_thread())

    def read(self, item):
        self._change(1)
        time.sleep(self.seconds)
        if item % 10 == 3:
            self._change(-1)
            raise InputError(f'{item} cannot be read')
        return item

    def compute(self, item, value):
        time.sleep(self.seconds)
        if item % 10 == 5:
            self._change(-1)
            raise InputError(f'{item} cannot be computed')
        return value * 2

    def write(self, item, result):
        time.sleep(self.seconds)
        self._change(-1)
        if item % 10 == 7:
            raise UserError(f'{item} cannot be written')
        self.written.append((item, result))

    def run(self, count):
        return run_pipeline(range(count), self.read, self.compute, self.write, lambda v: self.size)


def test_outcomes_come_in_order():
    stages = Traced()
    found = [str(error or '') for error in stages.run(20)]
    expected = [''] * 20
    for item in (3, 13):
        expected[item] = f'{item} cannot be read'
        expected[item + 2] = f'{item + 2} cannot be computed'
        expected[item + 4] = f'{item + 4} cannot be written'
    assert found == expected
    assert stages.written == [(i, 2 * i) for i in range(20) if i % 10 not in (3, 5, 7)]


@pytest.mark.parametrize('size, most', [(1, 7), (prefetch.MAX_WAITING_BYTES // 2 + 1, 3)])
def test_memory_is_bounded(size, most):
    """Items do not accumulate before a slow third stage; large items run nearly alone."""
    stages = Traced(size)
    slow = stages.write

    def write(item, result):
        time.sleep(0.005)
        slow(item, result)

    stages.write = write
    list(stages.run(40))
    assert stages.most <= most


def test_an_item_that_exceeds_the_limit_runs_alone():
    stages = Traced(prefetch.MAX_WAITING_BYTES + 1)
    list(stages.run(12))
    assert stages.most == 1


def test_the_stages_overlap():
    stages = Traced(seconds=0.02)
    started = time.monotonic()
    list(stages.run(25))
    assert time.monotonic() - started < 0.8 * 25 * 3 * 0.02
    assert len(stages.threads) >= 2


def test_other_exceptions_end_the_pipeline_and_all_threads():
    before = threading.active_count()
    for stage in ('read', 'compute', 'write'):
        stages = Traced()

        def fail(*arguments):
            raise LookupError(stage)  # noqa: B023

        setattr(stages, stage, fail)
        with pytest.raises(LookupError, match=stage):
            list(stages.run(30))
    outcomes = Traced(seconds=0.01).run(1000)
    next(outcomes)
    outcomes.close()
    assert threading.active_count() == before
