"""The watchdog raises its alarm after a time without progress, and only then."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.distributed.watchdog import Watchdog

SECONDS = 0.4  # the timeout


def wait(watchdog=None):
    """Make no progress for longer than the timeout."""
    time.sleep(3 * SECONDS)


def make_progress(watchdog):
    """Note progress often, for longer than the timeout."""
    for step in range(30):
        time.sleep(SECONDS / 10)
        watchdog.note_progress(f'step {step}')


def pause(watchdog):
    """Make no progress, but in a pause."""
    with watchdog.paused():
        wait()


def stop_after_a_step(watchdog):
    """Note progress once."""
    watchdog.note_progress('iteration 3')
    wait()


def pause_then_wait(watchdog):
    """Make no progress after a pause either."""
    pause(watchdog)
    wait()


USES = {  # what happens under the watchdog, and whether it is armed
    'make_progress': (make_progress, True),
    'pause': (pause, True),
    'not armed': (wait, False),
    'stop_after_a_step': (stop_after_a_step, True),
    'pause_then_wait': (pause_then_wait, True),
}


@pytest.fixture(scope='module')
def alarms():
    """The messages of each use; all uses run at the same time, as they mostly sleep."""

    def run(use, armed) -> list[str]:
        messages = []
        with Watchdog(SECONDS, messages.append, armed=armed) as watchdog:
            use(watchdog)
        return messages

    with ThreadPoolExecutor(len(USES)) as pool:
        futures = {name: pool.submit(run, *use) for name, use in USES.items()}
        return {name: future.result() for name, future in futures.items()}


def test_the_alarm_names_the_latest_progress(alarms):
    (message,) = alarms['stop_after_a_step']
    assert message.startswith('no progress for 0.4 seconds since iteration 3: ')


@pytest.mark.parametrize('name', ['make_progress', 'pause', 'not armed'])
def test_there_is_no_alarm(alarms, name):
    """With progress, in a pause while other ranks are watched, and for a single process."""
    assert alarms[name] == []


def test_the_watchdog_continues_after_a_pause(alarms):
    assert len(alarms['pause_then_wait']) == 1
