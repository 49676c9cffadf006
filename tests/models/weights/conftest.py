"""Fixtures of the tests of weights."""

import nnabla as nn
import pytest

from support import stand_ins
from support.conversions import few_networks

__all__ = ['few_networks', 'network']


@pytest.fixture
def network():
    """A tiny network with seeded parameters, 5 classes."""
    network = stand_ins.tiny()
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    return network
