"""Scores of class maps, computed from counts over the whole set, so that shards can be added.

A confusion matrix has a row for each true class and a column for each predicted class. Pixels with
label 255 are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datasets import IGNORE

BOUNDARY_WIDTH = 0.02  # share of the image's diagonal


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of each pair of a true and a predicted class.

    Args:
        labels: (H, W) uint8; 255 is ignored.
        predictions: (H, W) uint8.
        num_classes: Number of classes.

    Returns:
        (num_classes, num_classes) int64.
    """
    valid = labels != IGNORE
    pairs = labels[valid].astype(np.int64) * num_classes + predictions[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Scores of each class from 0 to 1; NaN if no pixel determines a score.

    With P for precision and R for recall, F1 = 2PR / (P + R) (van Rijsbergen, "Information
    Retrieval", 1979). Of two sets of pixels it is the coefficient of Dice, 2|A & B| / (|A| + |B|)
    (Dice, Ecology 26, 1945). Means over classes treat absent classes as mIoU does, and equal
    scikit-learn's macro averages.

    Attributes:
        iou: True positives over the union of truth and prediction. A class that occurs in neither
            is NaN and left out of the mean, as in cityscapesScripts. A class that is predicted but
            not labelled has 0.
        accuracy: Recall, the share of the class's pixels that are predicted correctly. A class that
            is not labelled is NaN.
        share: Share of the class among the labelled pixels.
        precision: Share of the pixels predicted as the class that are of it. NaN as for ``iou``; a
            class that is labelled but never predicted has 0.
        f1: F1, or Dice: the harmonic mean of precision and recall. NaN as for ``iou``; a class
            that is never predicted correctly has 0.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    precision: np.ndarray
    f1: np.ndarray

    @property
    def miou(self) -> float:
        """Mean IoU of the classes that occur."""
        return mean(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy of the labelled classes."""
        return mean(self.accuracy)

    @property
    def mean_precision(self) -> float:
        """Mean precision of the classes that occur."""
        return mean(self.precision)

    @property
    def mean_f1(self) -> float:
        """Mean F1, or Dice, of the classes that occur."""
        return mean(self.f1)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are predicted correctly."""
        return _total(self.accuracy * self.share)

    @property
    def fwiou(self) -> float:
        """Mean IoU weighted with the share of each class."""
        return _total(self.iou * self.share)

    @property
    def overall(self) -> float:
        """The score of the MIT scene parsing challenge: the mean of mIoU and pixel accuracy."""
        return (self.miou + self.pixel_accuracy) / 2


def class_counts(matrix: np.ndarray) -> np.ndarray:
    """Return the pixels of each class in a confusion matrix.

    Returns:
        (3, num_classes) int64: those that are predicted correctly, labelled, and predicted.
    """
    return np.stack((np.diag(matrix), matrix.sum(1), matrix.sum(0)))


def scores(matrix: np.ndarray) -> Scores:
    """Compute the scores of a confusion matrix."""
    return scores_of_counts(class_counts(matrix))


def scores_of_counts(counts: np.ndarray) -> Scores:
    """Compute scores from :func:`class_counts`."""
    right, (truth, predicted) = counts[0].astype(np.float64), counts[1:]
    with np.errstate(invalid='ignore'):
        iou = right / (truth + predicted - right)
        # A labelled class that is never predicted has precision 0, so that it counts in the mean.
        precision = right / np.where(truth > 0, np.maximum(predicted, 1), predicted)
        f1 = 2 * right / (truth + predicted)
        return Scores(iou, right / truth, truth / np.float64(truth.sum()), precision, f1)


def merge(matrix: np.ndarray, groups: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Merge a confusion matrix into groups of classes, such as the categories of Cityscapes.

    Args:
        matrix: (classes, classes) int64.
        groups: Name of the group of every class.

    Returns:
        The names of the groups in order of appearance, and their confusion matrix.
    """
    names = tuple(dict.fromkeys(groups))
    member = np.array([[group == name for group in groups] for name in names], np.int64)
    return names, member @ matrix @ member.T


def boundary_counts(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Count intersection and union of the boundary regions of every class.

    A boundary region holds the pixels of a class's area that are no further than 2 % of the image's
    diagonal from its contour. The image's border is a contour. Boundary IoU is the quotient of the
    sums over the set. Cheng, Girshick, Dollár, Berg, Kirillov, CVPR 2021, arXiv:2103.16562. Pixels
    with label 255 belong to no class, neither in the labels nor in the prediction, so the contours
    of both run along them.

    Args:
        labels: (H, W) uint8; 255 is ignored.
        predictions: (H, W) uint8.
        num_classes: Number of classes.

    Returns:
        (num_classes, 2) int64.
    """
    height, width = labels.shape
    distance = max(1, round(BOUNDARY_WIDTH * float(np.hypot(height, width))))
    predictions = np.where(labels == IGNORE, np.uint8(IGNORE), predictions)
    counts = np.zeros((num_classes, 2), np.int64)
    for index in np.union1d(np.unique(labels), np.unique(predictions)):
        if index != IGNORE:
            true, predicted = (_boundary(m == index, distance) for m in (labels, predictions))
            counts[index] = (true & predicted).sum(), (true | predicted).sum()
    return counts


def boundary_iou(counts: np.ndarray) -> np.ndarray:
    """Return the boundary IoU of every class; NaN for classes in neither map."""
    with np.errstate(invalid='ignore'):
        return counts[:, 0] / counts[:, 1].astype(np.float64)


def _boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """Return the mask's pixels at most ``distance`` steps (to 8 neighbours) from the outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    kernel = np.ones((3, 3), np.uint8)
    inside = cv2.erode(padded, kernel, iterations=distance)[1:-1, 1:-1]
    return mask & (inside == 0)


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float('nan')


def _total(values: np.ndarray) -> float:
    """Return the sum of the values that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.sum()) if known.size else float('nan')
