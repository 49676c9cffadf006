"""The losses that a config can name, each with its keys; losses of one's own join them.

    @dataclass(frozen=True, kw_only=True)
    class FocalKeys(Section):
        focal_gamma: float = config_key(2.0, 'exponent of the focal loss', least=0)

    def focal(head: Head, keys: FocalKeys) -> Part:
        miss = 1 - F.exp(head.cross_entropy * -1)
        return head.mean(head.pixel_losses * miss**keys.focal_gamma)

    register(PixelLoss('focal', FocalKeys, focal))      # loss: focal

A module that does so takes effect with ``--import`` of a command. A batch may be spread over
micro-batches and processes; :class:`engine.training.losses.head.Part` says how a loss adds up over
them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.sections import Section, keys_of
from engine.training.losses.head import Head, Part
from engine.training.losses.keys import NAMES, LossKeys


@dataclass(frozen=True)
class PixelLoss:
    """A loss of the main head that takes the place of plain cross entropy.

    Attributes:
        name: What a config's ``loss`` calls it.
        keys: The section of its keys; ``Section`` itself where it has none.
        build: ``build(head, keys)`` returns the loss of a head.
        selects_pixels: Whether it decides itself which pixels it averages, so that ``loss_mean``
            does not go with it.
    """

    name: str
    keys: type[Section]
    build: Callable[[Head, Any], Part]
    selects_pixels: bool = False

    def bound(self, keys: Section) -> Callable[[Head], Part]:
        """Return the loss of a head under these keys."""
        return lambda head: self.build(head, keys)


@dataclass(frozen=True)
class Term:
    """A loss that is added to the main head's, with a weight.

    Attributes:
        name: The key of the weight is ``<name>_weight``.
        keys: The section of its keys, the weight among them, which is 0 by default.
        build: ``build(head, keys)`` returns the loss of a head, before the weight.
    """

    name: str
    keys: type[Section]
    build: Callable[[Head, Any], Part]

    def weight(self, keys: Section) -> float:
        """Return the weight that the term's section gives it."""
        return getattr(keys, self.weight_key)

    def bound(self, keys: Section) -> Callable[[Head], Part]:
        """Return the loss of a head under these keys."""
        return lambda head: self.build(head, keys)

    @property
    def weight_key(self) -> str:
        """The name of the key that holds the weight."""
        return f'{self.name}_weight'


PIXEL_LOSSES: dict[str, PixelLoss] = {}
TERMS: dict[str, Term] = {}


def register(loss: PixelLoss | Term) -> None:
    """Let configs use a loss.

    Raises:
        ValueError: There is one of that name, or a term has no key for its weight.
    """
    if isinstance(loss, Term):
        if loss.weight_key not in keys_of(loss.keys):
            raise ValueError(f'{loss.keys.__name__} lacks the key {loss.weight_key}')
        known: dict[str, Any] = TERMS
    else:
        known = PIXEL_LOSSES
    if loss.name in known:
        raise ValueError(f'there is a loss {loss.name} already')
    known[loss.name] = loss
    if isinstance(loss, PixelLoss):
        NAMES.append(loss.name)


def sections() -> list[type[Section]]:
    """Return the keys that hold for every loss, and those of each loss that is registered."""
    of_pixels, terms = PIXEL_LOSSES.values(), TERMS.values()
    return [LossKeys, *(loss.keys for loss in of_pixels), *(term.keys for term in terms)]
