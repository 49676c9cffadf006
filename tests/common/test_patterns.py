"""Patterns of names, and the message for a pattern without a match."""

import pytest

from common.errors import UserError
from common.patterns import matches, matching_parameters

NAMES = ['stem/conv/W', 'stem/bn/gamma', 'layer1/0/conv/W', 'head/conv/W', 'head/conv/b']


def test_a_star_matches_anything_and_case_matters():
    assert matches('layer1/0/conv/W', ['stem/*', 'layer1/*'])
    assert matches('layer1/0/conv/W', ('*/conv/W',))
    assert not matches('layer1/0/conv/W', ('*/conv/w', 'layer1', 'conv/W'))
    assert not matches('layer1/0/conv/W', ())


def test_matching_parameters_keep_their_order():
    assert matching_parameters('freeze', '*/W', iter(NAMES)) == [
        'stem/conv/W', 'layer1/0/conv/W', 'head/conv/W',
    ]  # fmt: skip


def test_a_pattern_without_a_match_is_the_users_mistake():
    with pytest.raises(UserError) as caught:
        matching_parameters('freeze', 'stm/*', NAMES)
    assert str(caught.value) == (
        "freeze: 'stm/*' matches no parameter; there are stem/conv/W, stem/bn/gamma, "
        'layer1/0/conv/W'
    )
