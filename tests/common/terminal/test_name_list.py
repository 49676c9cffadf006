"""Messages show the first names of a list, and whether there are more."""

import pytest

from common.terminal.name_list import first_names


@pytest.mark.parametrize(
    ('names', 'text'),
    [([], ''), (['a'], 'a'), (['a', 'b', 'c'], 'a, b, c'), (list('abcd'), 'a, b, c, ...')],
)
def test_the_first_names_are_shown(names, text):
    assert first_names(names) == text
    assert first_names('ab', most=1) == 'a, ...'


def test_names_stay_in_their_line():
    assert first_names(['a\nb', '\x1b[2J']) == r'a\nb, \x1b[2J'
