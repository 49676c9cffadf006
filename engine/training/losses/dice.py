"""The soft Dice loss.

Milletari, Navab, Ahmadi, 2016, arXiv:1606.04797, without their squares.
"""

from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np

from common.sections import Section, config_key
from engine.training.losses.head import Head, MicroBatchLoss
from engine.training.losses.registry import Term, register
from layers import functions as L


@dataclass(frozen=True, kw_only=True)
class DiceKeys(Section):
    """The soft Dice loss."""

    dice_weight: float = config_key(0.0, 'weight of the soft Dice loss of the main head', least=0)


def soft_dice(head: Head, keys: DiceKeys) -> MicroBatchLoss:
    """Return one minus the Dice coefficient, averaged over the classes in the labels.

    The coefficient of a class is ``2 sum(p * y) / (sum(p) + sum(y))`` over the valid pixels of the
    micro-batch. ``p`` are the probabilities, ``y`` is 1 where the label is the class. The average
    covers the classes present in the micro-batch. The weight of a micro-batch is its share of all
    valid pixels, so the loss depends on how a batch is divided.
    """
    probabilities, targets = head.probabilities, head.targets
    classes = probabilities.shape[1]

    def shares(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels[labels >= 0], minlength=classes) / labels.size

    # An absent class has weight 0; 1 avoids 0 / 0.
    def shares_or_one(labels: np.ndarray) -> np.ndarray:
        return np.where(shares(labels) > 0, shares(labels), 1)

    def weights(labels: np.ndarray) -> np.ndarray:
        there = shares(labels) > 0
        return there / max(there.sum(), 1)

    index = np.arange(classes, dtype=np.float32).reshape(1, -1, 1, 1)
    truth = F.equal(targets.labels, nn.Variable.from_numpy_array(index))
    truth.need_grad = False
    overlap = _class_means(probabilities * truth)
    predicted = _class_means(probabilities * targets.valid)
    true = targets.add((classes,), shares_or_one)
    losses = (1 - 2 * overlap / (predicted + true)) * targets.add((classes,), weights)
    return head.by_valid_pixels(L.mean_all(losses) * classes)


def _class_means(x: nn.Variable) -> nn.Variable:
    """Return the mean of each channel of (N, C, H, W), shape (C,)."""
    classes = x.shape[1]
    rows = F.reshape(F.transpose(x, (1, 0, 2, 3)), (classes, x.size // classes), inplace=False)
    return L.row_means(rows)


register(Term('dice', DiceKeys, soft_dice))
