"""Values in messages: as Python shows them, up to a length."""

from common.terminal.short_repr import MAX_CHARACTERS, short_repr, short_text


def test_small_values_are_shown_as_they_are():
    for value in (1, -2.5, 'it\'s "x"', None, [1, [2, 'a']], {'a': (1, 2)}, True):
        assert short_repr(value) == repr(value)
    assert short_text('a b') == 'a b'
    assert short_text(3) == '3'


def test_large_values_are_cut_without_being_written_out():
    nested: list = [1]
    for _ in range(100):
        nested = [nested] * 9
    for value in ('x' * 10**6, nested, list(range(10**6)), 16**10_000, {'k' * 10**6: nested}):
        assert len(short_repr(value)) <= MAX_CHARACTERS
        assert len(short_text(value)) <= MAX_CHARACTERS
    nested.append(nested)
    assert len(short_repr(nested)) <= MAX_CHARACTERS
