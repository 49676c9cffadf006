"""Warnings that a command shows once, from its own threads and from worker processes."""

import pytest

from common import once
from common.process_map import map_samples


@pytest.fixture(autouse=True)
def _new_command():
    """Every warning can be shown again."""
    once.reset()


def test_a_subject_is_warned_of_once_in_a_command(caplog):
    for text in ('first', 'second'):
        once.warn('depth', text)
    once.warn('orientation', 'third')
    assert caplog.messages == ['first', 'third']
    once.reset()
    once.warn('depth', 'in the next command')
    assert caplog.messages[2:] == ['in the next command']


def warn_of(items, index):
    """Warn in a process of :func:`map_samples`."""
    once.warn('depth', f'item {items[index]}')
    return items[index]


@pytest.mark.parametrize('processes', [1, 2])
def test_warnings_of_worker_processes_reach_the_parent_once(processes, caplog, capfd):
    assert list(map_samples('abcd', warn_of, processes, 'testing')) == list('abcd')
    (message,) = caplog.messages
    assert message in [f'item {letter}' for letter in 'abcd']
    assert 'item' not in capfd.readouterr().err
