"""Contestants take turns, and their ratios are medians over the rounds."""

import pytest

from benchmarks import harness

pytestmark = pytest.mark.bench


def test_contestants_take_turns():
    calls = []
    results = harness.compare_in_turns(
        {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3, warm_up=2
    )
    assert calls == ['a', 'b'] * 5
    assert [result.name for result in results] == ['a', 'b']
    assert results[0].ratio == 1
    assert results[1].fastest_ms <= results[1].median_ms <= results[1].slowest_ms


def test_contestants_can_return_their_own_time():
    contestants = {'a': lambda: 0.5, 'b': lambda: 0.25}
    results = harness.compare_in_turns(contestants, rounds=3, own_clock=True)
    assert [result.median_ms for result in results] == [500, 250]
    assert results[1].ratio == 2
