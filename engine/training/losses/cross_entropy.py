"""Cross entropy, averaged over the pixels that key ``loss_mean`` says."""

from common.sections import Section
from engine.training.losses.head import Head, Part
from engine.training.losses.registry import PixelLoss, register


def cross_entropy(head: Head, keys: Section | None = None) -> Part:
    """Return the mean cross entropy of a head, with class weights and smoothing."""
    return head.mean(head.pixel_losses)


register(PixelLoss('cross_entropy', Section, cross_entropy))
