"""The soft Dice loss.

Milletari, Navab, Ahmadi, 2016, arXiv:1606.04797, without their squares.
"""

import nnabla as nn
import nnabla.functions as F
import numpy as np

from layers import functions as L


def soft_dice(probabilities, targets):
    """One minus the Dice coefficient of each class in the labels, averaged over them, (1,).

    The coefficient is ``2 sum(p * y) / (sum(p) + sum(y))`` over the valid pixels of the batch, with
    ``y`` 1 where the label is the class. probabilities: (N, C, H, W), after the softmax. targets:
    see :mod:`engine.training.losses`.
    """
    classes = probabilities.shape[1]

    def shares(labels):
        return np.bincount(labels[labels >= 0], minlength=classes) / labels.size

    def shares_or_one(labels):  # a class that is not there has no weight, but must not be 0 / 0
        return np.where(shares(labels) > 0, shares(labels), 1)

    def weights(labels):
        there = shares(labels) > 0
        return there / max(there.sum(), 1)

    index = np.arange(classes, dtype=np.float32).reshape(1, -1, 1, 1)
    truth = F.equal(targets.labels, nn.Variable.from_numpy_array(index))
    truth.need_grad = False
    overlap = _class_means(probabilities * truth)
    predicted = _class_means(probabilities * targets.valid)
    true = targets.add((classes,), shares_or_one)
    losses = (1 - 2 * overlap / (predicted + true)) * targets.add((classes,), weights)
    return L.mean_all(losses) * classes


def _class_means(x):
    """The mean of each channel of (N, C, H, W), shape (C,)."""
    classes = x.shape[1]
    rows = F.reshape(F.transpose(x, (1, 0, 2, 3)), (classes, x.size // classes), inplace=False)
    return L.row_means(rows)
