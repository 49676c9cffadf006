"""Registered parameters: copies, comparisons, and files that must not change them."""

import nnabla as nn
import numpy as np
import pytest

import models
from models import weights


def parameters():
    """Return copies of the registered parameters by name."""
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def assert_same(one, other):
    """Assert that two mappings hold the same arrays by the same names."""
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def assert_refused(source, message, **options):
    """Assert that loading fails with ``message``, in one line, and changes no parameter."""
    before = parameters()
    with pytest.raises(models.ModelError, match=message) as caught:
        weights.load(source, **options)
    assert '\n' not in str(caught.value)
    assert_same(parameters(), before)
