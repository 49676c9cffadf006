"""Contestants of the inference benchmark: their logits must agree in float32."""

import numpy as np
import pytest

from benchmarks import contestants
from benchmarks.contestants import InferenceContestant
from common.errors import UserError

pytestmark = pytest.mark.bench


def test_wrong_logits_are_refused_in_float32():
    reference = np.ones((1, 2, 3, 3), np.float32)
    off = reference.copy()
    off[0, 0, 0, 0] += 0.01
    assert contestants.difference(
        InferenceContestant('auto', 'int8'), off, reference
    ) == pytest.approx(0.01)
    for wrong in (off, off * np.nan):
        with pytest.raises(UserError, match='auto float32: its logits differ'):
            contestants.difference(InferenceContestant('auto', 'float32'), wrong, reference)
