"""Labels at the resolution of a head."""

import math

import nnabla as nn
import numpy as np
import pytest

from engine.training import losses


@pytest.mark.parametrize('old', range(1, 40, 3))
@pytest.mark.parametrize('new', (1, 2, 3, 5, 8))
def test_labels_are_subsampled_at_the_centres(old, new):
    """The labels are one row of 0, 1, 2...; the gradient shows which of them are used."""
    new = min(new, old)
    labels = np.arange(old, dtype=np.int32).reshape(1, 1, 1, old)
    logits = nn.Variable.from_numpy_array(np.zeros((1, old, 1, new), np.float32), need_grad=True)
    logits.grad.zero()
    objective = losses.create({'loss_at': 'logits'}, old).build([logits], (1, old))
    objective.feed(labels, objective.counts(labels))
    objective.loss.forward()
    objective.loss.backward()
    expected = [math.floor((i + 0.5) * (old / new)) for i in range(new)]
    if old > 1:
        assert list(logits.g[0, :, 0].argmin(axis=0)) == expected
