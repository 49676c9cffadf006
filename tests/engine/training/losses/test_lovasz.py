"""The Lovász-softmax loss, added to cross entropy, against its definition in NumPy."""

from support.expected_losses import BY_MICRO_BATCH, assert_expected, random_labels, random_outputs


def test_loss_and_gradient_of_one_head():
    assert_expected(BY_MICRO_BATCH['lovasz'], random_outputs((4, 5)), random_labels((4, 5)))
