"""Online hard example mining keeps the pixels that the original keeps."""

import numpy as np
import pytest

from support.expected_losses import (
    BY_MICRO_BATCH,
    CLASSES,
    assert_expected,
    compute,
    expected_loss,
    random_labels,
    random_outputs,
)


def ohem(threshold, min_kept):
    return {'loss': 'ohem', 'ohem_threshold': threshold, 'ohem_min_kept': min_kept}


@pytest.mark.parametrize('case', ('ohem', 'ohem, weights, smoothing'))
def test_loss_and_gradient_of_one_head(case):
    assert_expected(BY_MICRO_BATCH[case], random_outputs((4, 5)), random_labels((4, 5)))


@pytest.mark.parametrize('min_kept', (1, 3, 12, 13, 14, 19, 20, 21, 1000))
@pytest.mark.parametrize('threshold', (1e-6, 0.5, 1.0))
@pytest.mark.parametrize('valid', (1, 2, 13, 14, 20))
def test_the_pixels_of_the_original_are_kept(threshold, min_kept, valid):
    """Fewer valid pixels than the minimum, as many, more; thresholds above and below them."""
    labels = random_labels((4, 5), batch=1, ignored=0)
    labels.flat[np.random.RandomState(3).permutation(20)[valid:]] = -1
    assert_expected(ohem(threshold, min_kept), random_outputs((4, 5), batch=1), labels)


def test_the_defaults_keep_all_but_the_most_certain_pixel():
    """The minimum, 131072, exceeds the number of pixels."""
    outputs, labels = random_outputs((4, 5)), random_labels((4, 5))
    loss, _ = compute({'loss': 'ohem'}, outputs, labels)
    assert loss == pytest.approx(expected_loss(outputs, labels, ohem(0.9, 131072)), rel=1e-5)


def test_the_loss_without_a_hard_pixel_is_zero():
    """The mean of the original over no pixel is NaN."""
    labels = random_labels((4, 5), ignored=0.2)
    certain = np.where(np.arange(CLASSES).reshape(1, -1, 1, 1) == labels, 200.0, 0.0)
    loss, gradients = compute(ohem(0.9, 3), [certain], labels)
    assert loss == 0
    assert not gradients[0].any()


def test_auxiliary_heads_use_plain_cross_entropy():
    outputs, labels = random_outputs((4, 5), (4, 5)), random_labels((4, 5))
    config = {**ohem(0.1, 3), 'aux_weights': [1.0]}
    alone = compute(ohem(0.1, 3), outputs[:1], labels)[0]
    plain = compute({}, outputs[1:], labels)[0]
    assert compute(config, outputs, labels)[0] == pytest.approx(alone + plain, rel=1e-6)
