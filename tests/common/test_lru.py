"""The least-recently-used cache: which values it keeps and when it drops them."""

import random
from collections import OrderedDict

import pytest

from common.lru import LeastRecentlyUsed


def test_the_most_recently_used_values_stay():
    """Compared with a textbook implementation on a long random sequence."""
    rng, cache, book = random.Random(0), LeastRecentlyUsed(4), OrderedDict()
    made = expected = 0

    def make():
        nonlocal made
        made += 1
        return object()

    for _ in range(2000):
        key = min(rng.randrange(8), rng.randrange(8))
        known = cache.get(key)
        value = cache.get_or_make(key, make)
        assert known in (None, value)
        expected += key not in book
        book[key] = None
        book.move_to_end(key)
        if len(book) > 4:
            book.popitem(last=False)
        assert (list(cache), made) == (list(book), expected)


def test_old_values_are_dropped_before_a_new_one_is_created():
    cache, sizes = LeastRecentlyUsed(2), []
    for key in range(4):
        cache.get_or_make(key, lambda: sizes.append(len(cache)))
    assert sizes == [0, 1, 1, 1]


def test_a_function_can_limit_the_cache():
    most = 5
    cache = LeastRecentlyUsed(lambda count: count >= most)
    for key in range(7):
        cache.get_or_make(key, object)
    assert list(cache) == [2, 3, 4, 5, 6]
    most = 2
    cache.get_or_make(2, object)  # a cache hit
    assert len(cache) == 5
    cache.get_or_make('new', object)
    assert list(cache) == [2, 'new']
    most = 0  # the new value is kept nevertheless
    cache.get_or_make('last', object)
    assert list(cache) == ['last']


def test_a_failed_creation_adds_no_value():
    cache = LeastRecentlyUsed(2)
    cache.get_or_make('a', object)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make('b', lambda: 1 / 0)
    assert list(cache) == ['a']
