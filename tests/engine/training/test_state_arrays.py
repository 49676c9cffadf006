"""Arrays of a saved state replace only arrays of the same name, shape and kind."""

import numpy as np
import pytest

from common.errors import UserError
from engine.training.state_arrays import check_fit

OWN = {'m': np.ones((2, 3), np.float32), 'steps': np.array(5, np.int64)}


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        ({'m': np.ones((3, 2), np.float32)}, r'm has shape \(3, 2\) instead of \(2, 3\)'),
        ({'m': np.ones((2, 3), np.int64)}, 'm has type int64 instead of float32'),
        ({'steps': np.array(5.0)}, 'steps has type float64 instead of int64'),
        ({'steps': np.array(-1)}, 'steps is not from 0 to 2147483647'),
        ({'steps': np.array(2**40)}, 'steps is not from 0 to 2147483647'),
        ({'further': np.ones(1)}, 'further is unknown here'),
    ],
)
def test_other_arrays_are_refused_by_name(change, problem):
    check_fit(OWN, {'m': np.zeros((2, 3), np.float16), 'steps': np.array(0)}, "the solver's")
    with pytest.raises(UserError, match=f"the solver's state does not fit: {problem}"):
        check_fit(OWN, OWN | change, "the solver's")
