"""Scores of predicted depths, computed from sums over the pixels of single images.

The sums of all images are added with a single rounding (:func:`math.fsum`), so that scores depend
neither on the order of the images nor on how processes share them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FARTHEST_METRES = 1e6  # predictions beyond count as this, so that all sums are finite
DELTA = 1.25  # base of the limits of the shares of right pixels
LEAST_METRES = 1e-3  # predictions below count as this where a logarithm or a quotient is taken


@dataclass(frozen=True)
class DepthScores:
    """Scores of depths; NaN without a pixel that counts.

    The definitions are those of Eigen, Puhrsch, Fergus, 2014, arXiv:1406.2283, with ``e`` for
    prediction minus target and ``t`` for the target.

    Attributes:
        ard: Absolute relative difference, the mean of ``|e| / t``.
        squared_relative: Mean of ``e^2 / t``, in metres.
        rmse: Root of the mean of ``e^2``, in metres.
        rmse_log: The same of the difference of natural logarithms.
        deltas: Shares of the pixels where prediction and target differ by a factor of less than
            1.25, 1.25^2 and 1.25^3.
        pixels: Number of pixels that count.
    """

    ard: float
    squared_relative: float
    rmse: float
    rmse_log: float
    deltas: tuple[float, float, float]
    pixels: int


def image_sums(
    metres: np.ndarray, prediction: np.ndarray, limits: tuple[float, float] | None = None
) -> np.ndarray:
    """Return the sums over the pixels of an image from which :func:`scores` are computed.

    Args:
        metres: (H, W) float32, the true depths; 0 where they are unknown.
        prediction: (H, W) float32, in metres. What is not finite counts as
            :data:`FARTHEST_METRES`, whatever the limits, so that it is the worst prediction.
        limits: Only pixels whose true depth is above the first and at most the second limit count,
            and predictions are clamped to both; None for all known pixels.

    Returns:
        (8,) float64: pixels; sums of ``|e| / t``, ``e^2 / t``, ``e^2`` and the squared difference
        of logarithms; pixels within each factor.
    """
    counted = metres > 0
    if limits is not None:
        counted &= (metres > limits[0]) & (metres <= limits[1])
    t, p = (array[counted].astype(np.float64) for array in (metres, prediction))
    lost = ~np.isfinite(p)
    p = np.clip(p, *(limits or (-FARTHEST_METRES, FARTHEST_METRES)))
    p[lost] = FARTHEST_METRES
    e = p - t
    positive = np.maximum(p, LEAST_METRES)
    factor = np.maximum(positive / t, t / positive)
    logs = np.log(positive / t)
    squares = e * e
    sums = (np.abs(e) / t).sum(), (squares / t).sum(), squares.sum(), (logs * logs).sum()
    shares = (np.count_nonzero(factor < DELTA**power) for power in (1, 2, 3))
    return np.array([t.size, *sums, *shares], np.float64)


def total(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum of the :func:`image_sums` of several images, (8,) float64."""
    return np.array([math.fsum(column) for column in zip(*rows)] or [0.0] * 8)


def scores(sums: np.ndarray) -> DepthScores:
    """Compute scores from :func:`image_sums` or their :func:`total`."""
    pixels = int(sums[0])
    means = sums[1:] / pixels if pixels else np.full(7, np.nan)
    ard, squared_relative, square, square_log, *deltas = means.tolist()
    first, second, third = deltas
    return DepthScores(
        ard,
        squared_relative,
        math.sqrt(square),
        math.sqrt(square_log),
        (first, second, third),
        pixels,
    )
