"""Scores that the network computed for one image, and the maps that follow from them.

The maps of a network with several tasks have the channels of all tasks, one task after the other.

The scores stay at the network's own resolution. They are resized to the image's size in bands of
rows, so that memory does not grow with pixels times classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.memory import memory_errors_as
from engine.inference.resampling import WHOLE, Shares, resize_rows
from engine.inference.test_time import Size

ALL_CHANNELS = slice(None)
BAND_VALUES = 1 << 20  # scores resized at a time, over all classes: 4 MiB


@dataclass(frozen=True)
class ViewScores:
    """The scores that the network computed for one view.

    Attributes:
        maps: (channels, h, w) float32: num_classes, or the channels of all tasks.
        size: Height and width of the image.
        shown: Shares of the maps' height and width that show the image, in the upper left corner;
            the rest is padding.
        mirrored: Whether the view was mirrored.
        logits: Channels that hold the logits of a task. All others are values as they are:
            probabilities, or depths.
    """

    maps: np.ndarray
    size: Size
    shown: Shares = WHOLE
    mirrored: bool = False
    logits: tuple[slice, ...] = (ALL_CHANNELS,)

    def rows(self, rows: slice) -> np.ndarray:
        """Return the scores of rows of the image, (channels, rows, width), float32."""
        scores = resize_rows(self.maps, self.size, rows, self.shown)
        return scores[..., ::-1] if self.mirrored else scores

    def values(self, rows: slice) -> np.ndarray:
        """Return the values of rows of the image, (channels, rows, width), float32.

        They are probabilities where the maps have logits.
        """
        return values_of(self.rows(rows), self.logits)

    def of_task(self, channels: slice) -> 'ViewScores':
        """Return the scores of one task."""
        logits = (ALL_CHANNELS,) if channels in self.logits else ()
        return replace(self, maps=self.maps[channels], logits=logits)


@dataclass(frozen=True)
class ImageScores:
    """The scores of all views of one image, for one task.

    Attributes:
        views: The scores of each view.
        num_classes: The channels of the task: its number of classes, or 1 of a depth task.
        size: Height and width of the image.
    """

    views: list[ViewScores]
    num_classes: int
    size: Size

    @property
    def nbytes(self) -> int:
        """Size of the maps of all views in bytes."""
        return sum(view.maps.nbytes for view in self.views)

    def labels(self) -> np.ndarray:
        """Return the class index of every pixel, (H, W) uint8; the first one of equal classes.

        Raises:
            InputError: The memory does not suffice.
        """
        with enough_memory(self.size):
            labels = np.empty(self.size, np.uint8)
            # The softmax of one view leaves the order of the classes as it is.
            scores_of = self.views[0].rows if len(self.views) == 1 else self._mean
            for rows in self._bands():
                labels[rows] = scores_of(rows).argmax(axis=0)
            return labels

    def confidence(self) -> np.ndarray:
        """Return the probability of the most probable class, (H, W) float32.

        Raises:
            InputError: The memory does not suffice.
        """
        with enough_memory(self.size):
            confidence = np.empty(self.size, np.float32)
            for rows in self._bands():
                confidence[rows] = self._mean(rows).max(axis=0)
            return confidence

    def probabilities(self, dtype: npt.DTypeLike = np.float32) -> np.ndarray:
        """Return the mean probabilities over all views, (num_classes, H, W).

        Args:
            dtype: Number type of the result; in float16 it needs half the memory.

        Raises:
            InputError: The memory does not suffice.
        """
        with enough_memory(self.size):
            probabilities = np.empty((self.num_classes, *self.size), dtype)
            for rows in self._bands():
                probabilities[:, rows] = self._mean(rows)
            return probabilities

    def depth(self) -> np.ndarray:
        """Return the mean depth over all views in metres, (H, W) float32, of a depth task.

        Raises:
            InputError: The memory does not suffice.
        """
        return self.probabilities()[0]

    def _mean(self, rows: slice) -> np.ndarray:
        views = (view.values(rows) for view in self.views)
        return reduce(np.add, views) / np.float32(len(self.views))

    def _bands(self) -> Iterator[slice]:
        return bands(self.size, self.num_classes)


def mean_of(views: Iterator[ViewScores], channels: int, size: Size) -> ViewScores:
    """Average views, one after the other, at the size of the image.

    Each view with windows has maps of the view's size, so that few of them fit into the memory.

    Args:
        views: Yields the scores of each view.
        channels: The number of channels.
        size: Height and width of the image.
    """
    total, count = np.zeros((channels, *size), np.float32), 0
    for view in views:
        count += 1
        for rows in bands(size, channels):
            total[:, rows] += view.values(rows)
    total /= np.float32(count)
    return ViewScores(total, size, logits=())


def values_of(scores: np.ndarray, logits: Sequence[slice]) -> np.ndarray:
    """Return scores (channels, ...) with probabilities in the place of logits."""
    if list(logits) == [ALL_CHANNELS]:
        return softmax(scores)
    values = scores.copy() if logits else scores
    for channels in logits:
        values[channels] = softmax(scores[channels])
    return values


def bands(size: Size, num_classes: int) -> Iterator[slice]:
    """Split the rows of an image of ``size`` into bands of at most ``BAND_VALUES`` scores."""
    height, width = size
    step = max(1, BAND_VALUES // (num_classes * width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the first axis, the classes, in the dtype of ``logits``."""
    with np.errstate(invalid='ignore'):  # infinity, from weights that have it
        scores = logits - logits.max(axis=0)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=0)
    return scores


def enough_memory(size: Size) -> AbstractContextManager[None]:
    """Raise ``InputError`` for lack of memory in the block, which handles an image of ``size``."""
    return memory_errors_as(
        InputError,
        f'not enough memory for an image of {size[1]}x{size[0]} pixels; make it smaller with '
        'another program, or leave more memory to this one',
    )
