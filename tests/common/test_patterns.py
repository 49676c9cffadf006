"""Patterns of names, and what is said of one that is like nothing."""

import pytest

from common.errors import UserError
from common.patterns import matches, matching_parameters

NAMES = ['stem/conv/W', 'stem/bn/gamma', 'layer1/0/conv/W', 'head/conv/W', 'head/conv/b']


def test_a_star_stands_for_anything_and_case_counts():
    assert matches('layer1/0/conv/W', ['stem/*', 'layer1/*'])
    assert matches('layer1/0/conv/W', ('*/conv/W',))
    assert not matches('layer1/0/conv/W', ('*/conv/w', 'layer1', 'conv/W'))
    assert not matches('layer1/0/conv/W', ())


def test_parameters_like_a_pattern_keep_their_order():
    assert matching_parameters('freeze', '*/W', iter(NAMES)) == [
        'stem/conv/W', 'layer1/0/conv/W', 'head/conv/W',
    ]  # fmt: skip


def test_a_pattern_like_no_parameter_is_a_mistake():
    with pytest.raises(UserError) as caught:
        matching_parameters('freeze', 'stm/*', NAMES)
    assert str(caught.value) == (
        "freeze: 'stm/*' matches no parameter; there are stem/conv/W, stem/bn/gamma, "
        'layer1/0/conv/W'
    )
