"""Register losses by name, each with its config keys; projects can add their own.

    @dataclass(frozen=True, kw_only=True)
    class FocalKeys(Section):
        focal_gamma: float = config_key(2.0, 'exponent of the focal loss', least=0)

    def focal(head: Head, keys: FocalKeys) -> MicroBatchLoss:
        miss = 1 - F.exp(head.cross_entropy * -1)
        return head.mean(head.pixel_losses * miss**keys.focal_gamma)

    register(PixelLoss('focal', FocalKeys, focal))      # loss: focal

:func:`register_depth` adds a term of the losses of depth tasks in the same way; its function takes
a :class:`engine.training.losses.depth_head.DepthHead`.

The option ``--import`` of a command loads such a module. A batch can be divided into micro-batches
over several processes; :class:`engine.training.losses.head.MicroBatchLoss` describes how their
losses are combined.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.registry import Registry
from common.sections import Key, Section, keys_of
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.keys import PIXEL_LOSSES, LossKeys
from engine.training.losses.task_keys import TaskLossKeys


@dataclass(frozen=True)
class PixelLoss:
    """A loss of the main head, selected by the key ``loss``.

    Attributes:
        name: The value of the key ``loss`` that selects this loss.
        keys: The section of the loss's own keys; ``Section`` itself if it has none.
        build: ``build(head, keys)`` returns the loss of a head.
        selects_pixels: Whether the loss selects the pixels to average itself, so that it does not
            support ``loss_mean``.
    """

    name: str
    keys: type[Section]
    build: Callable[[Head, Any], MicroBatchLoss]
    selects_pixels: bool = False

    def bound(self, keys: Section) -> Callable[[Head], MicroBatchLoss]:
        """Return a builder of the loss that has these keys."""
        return lambda head: self.build(head, keys)


@dataclass(frozen=True)
class Term:
    """A weighted term of the loss of a main head, or of a depth task.

    Attributes:
        name: The name of the term; the key of its weight is ``<name>_weight``.
        keys: The section of the term's own keys. They include the weight, whose default is 0.
        build: ``build(head, keys)`` returns the loss of a head, before the weight.
    """

    name: str
    keys: type[Section]
    build: Callable[[Any, Any], MicroBatchLoss]

    def weight(self, keys: Section) -> float:
        """Return the weight of the term."""
        return getattr(keys, self.weight_key)

    def bound(self, keys: Section) -> Callable[[Any], MicroBatchLoss]:
        """Return a builder of the loss that has these keys."""
        return lambda head: self.build(head, keys)

    @property
    def weight_key(self) -> str:
        """The name of the key that holds the weight."""
        return f'{self.name}_weight'


TERMS: Registry[Term] = Registry('a term of the loss')
DEPTH_TERMS: Registry[Term] = Registry('a term of the loss of depths')


def register(loss: PixelLoss | Term) -> None:
    """Register a loss, so that configs can use it.

    Raises:
        UserError: The name is taken, a term has no weight key with the default 0, or one of its
            other keys has no default.
    """
    if isinstance(loss, PixelLoss):
        PIXEL_LOSSES.add(loss.name, loss)
        return
    _check_term(loss, keys_of(loss.keys).get(loss.weight_key), 'the loss')
    TERMS.add(loss.name, loss)


def register_depth(term: Term) -> None:
    """Register a term of the losses of depth tasks, so that configs can use it.

    Raises:
        UserError: As for :func:`register`.
    """
    _check_term(term, keys_of(term.keys).get(term.weight_key), 'the loss of depths')
    DEPTH_TERMS.add(term.name, term)


def _check_term(term: Term, weight: Key | None, whole: str) -> None:
    if weight is None or weight.default != 0:
        raise UserError(
            f'the term {term.name} of {whole}: {term.keys.__name__} needs the key '
            f'{term.weight_key} with the default 0, so that only configs that set it use the term'
        )
    for name in term.keys.missing({}):
        raise UserError(f'the term {term.name} of {whole}: the key {name} needs a default')


def sections() -> list[type[Section]]:
    """Return the sections of every config: common keys, those of tasks, and each term's keys."""
    terms = (*TERMS.values(), *DEPTH_TERMS.values())
    return [LossKeys, *(term.keys for term in terms), TaskLossKeys]


def choices() -> dict[str, type[Section]]:
    """Return the section of each value of the key ``loss``."""
    return {name: loss.keys for name, loss in PIXEL_LOSSES.items()}
