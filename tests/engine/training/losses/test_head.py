"""Losses of micro-batches, which sum to the loss of the batch."""

import numpy as np
import pytest

from support.expected_losses import (
    ALL,
    BY_MICRO_BATCH,
    EXACT,
    compute,
    random_labels,
    random_outputs,
)


@pytest.mark.parametrize('case', EXACT)
@pytest.mark.parametrize('at', ('input', 'logits'))
def test_micro_batches_sum_to_the_batch(case, at):
    """One image is ignored entirely, so that the numbers of valid pixels differ."""
    outputs = random_outputs((3, 4), (2, 2), batch=4)
    labels = random_labels((6, 7), batch=4)
    labels[1] = -1
    config = {**EXACT[case], 'loss_at': at}
    whole = compute(config, outputs, labels)
    for batches in ([1, 3], [1, 1, 2]):
        loss, gradients = compute(config, outputs, labels, batches)
        assert loss == pytest.approx(whole[0], rel=1e-6)
        for found, expected in zip(gradients, whole[1]):
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize('case', BY_MICRO_BATCH)
def test_micro_batches_are_weighted_by_their_valid_pixels(case):
    config = BY_MICRO_BATCH[case]
    outputs = random_outputs((4, 5), batch=4)
    labels = random_labels((4, 5), batch=4)
    labels[0, 0, :3] = -1
    loss, gradients = compute(config, outputs, labels, [1, 3])
    expected = 0.0
    for share in (slice(0, 1), slice(1, 4)):
        weight = (labels[share] >= 0).sum() / (labels >= 0).sum()
        alone = compute(config, [outputs[0][share]], labels[share])
        expected += weight * alone[0]
        assert gradients[0][share] == pytest.approx(weight * alone[1][0], rel=1e-5, abs=1e-8)
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('case', ALL)
@pytest.mark.parametrize('batches', ([2], [1, 1]))
def test_a_batch_without_valid_pixels_has_no_loss_and_gradient(case, batches):
    labels = np.full((2, 1, 4, 5), -1, np.int32)
    loss, gradients = compute(ALL[case], random_outputs((4, 5), (2, 3)), labels, batches)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize('case', ALL)
def test_a_micro_batch_without_valid_pixels_beside_others(case):
    outputs, labels = random_outputs((4, 5)), random_labels((4, 5))
    labels[1] = -1
    loss, gradients = compute(ALL[case], outputs, labels, [1, 1])
    whole = compute(ALL[case], outputs, labels)
    assert loss == pytest.approx(whole[0], rel=1e-5)
    assert gradients[0] == pytest.approx(whole[1][0], rel=1e-4, abs=1e-7)
    assert not gradients[0][1].any()
