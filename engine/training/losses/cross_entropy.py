"""Cross entropy, averaged over the pixels that the key ``loss_mean`` selects."""

from common.sections import Section
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.registry import PixelLoss, register


def cross_entropy(head: Head, keys: Section | None = None) -> MicroBatchLoss:
    """Return the mean cross entropy of a head, with class weights and smoothing."""
    return head.mean(head.pixel_losses)


register(PixelLoss('cross_entropy', Section, cross_entropy))
