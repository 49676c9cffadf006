"""When a watchdog barks."""

import time

import pytest

from engine.distributed.watchdog import Watchdog

SECONDS = 0.4


def alarms(use, **options) -> list[str]:
    """What it says while ``use(watchdog)`` runs, and after that until nothing can follow."""
    told = []
    with Watchdog(SECONDS, told.append, **options) as watchdog:
        use(watchdog)
    return told


def wait(watchdog=None):
    time.sleep(3 * SECONDS)


def keep_moving(watchdog):
    for step in range(30):
        time.sleep(SECONDS / 10)
        watchdog.note_progress(f'step {step}')


def pause(watchdog):
    with watchdog.paused():
        wait()


def test_what_does_not_move_is_told_with_what_moved_last():
    def one_step(watchdog):
        watchdog.note_progress('iteration 3')
        wait()

    (told,) = alarms(one_step)
    assert told.startswith('no progress for 0.4 seconds since iteration 3: ')


@pytest.mark.parametrize(
    ('use', 'options'), [(keep_moving, {}), (pause, {}), (wait, {'armed': False})]
)
def test_it_is_silent(use, options):
    """While something moves, while others are watched, and where nobody is waited for."""
    assert alarms(use, **options) == []


def test_after_a_pause_it_goes_on():
    def pause_and_wait(watchdog):
        pause(watchdog)
        wait()

    assert len(alarms(pause_and_wait)) == 1
