"""Config keys that apply to all losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.registry import Registry
from common.sections import Section, SectionError, config_key

DEFAULT_AUX_WEIGHT = 0.4  # weight of each auxiliary head
# Instances of engine.training.losses.registry.PixelLoss.
PIXEL_LOSSES: Registry[Any] = Registry('a loss')


@dataclass(frozen=True, kw_only=True)
class LossKeys(Section):
    """The training loss."""

    loss: str = config_key('cross_entropy', 'loss of the main head', choices=PIXEL_LOSSES)
    loss_mean: str | None = config_key(
        None,
        'pixels over which cross entropy is averaged',
        choices=('valid', 'all'),
        default_text='valid',
    )
    loss_at: str = config_key(
        'input', 'resolution at which the loss is computed', choices=('input', 'logits')
    )
    class_weights: tuple[float, ...] | None = config_key(
        None, 'weight of each class', least=0, default_text='1 for each'
    )
    label_smoothing: float = config_key(
        0.0, 'label smoothing: share of a label that is spread over all classes', least=0, most=1
    )
    main_weight: float = config_key(1.0, 'weight of the loss of the main head', least=0)
    aux_weights: tuple[float, ...] | None = config_key(
        None,
        'weights of the cross entropy of the auxiliary heads: one for all, or one for each',
        least=0,
        default_text=f'{DEFAULT_AUX_WEIGHT} for each',
    )

    def weights_of_aux(self, heads: int) -> Sequence[float]:
        """Return the weight of each auxiliary head.

        Raises:
            SectionError: The number of heads does not match ``aux_weights``.
        """
        weights = self.aux_weights or [DEFAULT_AUX_WEIGHT] * heads
        if heads and len(weights) == 1:
            return [weights[0]] * heads
        if len(weights) != heads:
            raise SectionError(
                'aux_weights', f'{len(weights)} given, the network has {heads} auxiliary heads'
            )
        return weights

    def pixel_weights(self, labels: np.ndarray) -> np.ndarray:
        """Return the weight of each pixel's class, 0 where the label is ignored."""
        weights = np.array(self.class_weights, np.float32)
        return weights[labels] * (labels >= 0)

    def sum_of_weights(self, labels: np.ndarray) -> float:
        """Return the sum of :meth:`pixel_weights`."""
        return self.pixel_weights(labels).sum(dtype=np.float64)
