"""Cross entropy with class weights and label smoothing, against NumPy."""

import pytest

from support.expected_losses import EXACT, assert_expected, random_labels, random_outputs


@pytest.mark.parametrize('case', EXACT)
def test_loss_and_gradient_of_one_head(case):
    assert_expected(EXACT[case], random_outputs((4, 5)), random_labels((4, 5)))
