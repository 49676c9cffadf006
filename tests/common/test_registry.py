"""The registry of named parts."""

import pytest

from common.errors import UserError
from common.registry import Registry


def test_parts_are_found_by_name_in_their_order():
    parts = Registry('a part')
    parts.add('b', 1)
    parts.add('a', 2)
    assert dict(parts) == {'b': 1, 'a': 2}
    assert list(parts) == ['b', 'a']


def test_a_name_can_be_registered_only_once():
    parts = Registry('a part')
    parts.add('b', 1)
    with pytest.raises(UserError, match='a part called b is registered already; give this one'):
        parts.add('b', 2)
    assert parts['b'] == 1
