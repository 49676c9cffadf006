"""The result of segmenting one image."""

from collections.abc import Callable, Mapping

import numpy as np

from datasets import DatasetInfo
from engine.inference import pictures
from engine.inference.depth_map import Result
from engine.inference.scores import ImageScores
from engine.inference.settings import LooksSettings


class Segmentation:
    """The class of every pixel of one image, and what follows from the scores of the classes.

    Confidence and probabilities are computed when they are asked for. Until :meth:`drop_scores`,
    the result keeps the network's maps for them, ``(num_classes, h, w)`` float32 at the network's
    own resolution for each view of the image.

    Attributes:
        image: (H, W, 3) uint8, BGR: the image as the network saw it, upright.
        labels: (H, W) uint8, class indices.
        info: Names and colours of the classes.
        tasks: The results of all tasks of the network by name, this one among them.

    Args:
        image: The image.
        labels: Its class indices.
        info: Names and colours of the classes.
        compute_scores: Computes the scores of the image.
        scores: The scores, if they are known already.
    """

    def __init__(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        info: DatasetInfo,
        compute_scores: Callable[[], ImageScores],
        scores: ImageScores | None = None,
    ):
        self.image, self.labels, self.info = image, labels, info
        self._compute_scores, self._scores = compute_scores, scores
        self._confidence: np.ndarray | None = None
        self.tasks: Mapping[str, Result] = {info.task: self}

    def __repr__(self) -> str:
        height, width = self.labels.shape
        largest = ', '.join(f'{name} {share:.1%}' for name, share in list(self.shares.items())[:3])
        return f'<Segmentation of {width}x{height} pixels: {largest}>'

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index."""
        return self.info.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colours of the classes by index, as (red, green, blue)."""
        return self.info.palette

    @property
    def shares(self) -> dict[str, float]:
        """The share of the pixels, from 0 to 1, of each class that occurs, the largest first."""
        return pictures.class_shares(self.labels, self.info)

    @property
    def confidence(self) -> np.ndarray:
        """The probability of each pixel's class, (H, W) float32, kept once it is computed.

        Several views of the image count by the mean of their probabilities.

        Raises:
            InputError: The memory does not suffice.
        """
        if self._confidence is None:
            self._confidence = self._known_scores().confidence()
        return self._confidence

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities of all classes, (num_classes, H, W) float32, computed at each use.

        Raises:
            InputError: The memory does not suffice.
        """
        return self._known_scores().probabilities()

    def overlay(self, opacity: float = 0.5, legend: bool = False) -> np.ndarray:
        """Blend the colours of the classes into the image, as infer.py does.

        Args:
            opacity: Opacity of the colours, above 0 and at most 1.
            legend: Whether to attach the names and the colours of all classes on the right.

        Returns:
            (H, W, 3) uint8, BGR; wider with a legend.

        Raises:
            UserError: The opacity is out of range.
        """
        looks = LooksSettings(opacity=opacity, legend=legend)
        return pictures.overlay(self.image, self.labels, self.info, looks)

    def half_probabilities(self) -> np.ndarray:
        """Return :attr:`probabilities` as float16, in half the memory.

        Raises:
            InputError: The memory does not suffice.
        """
        return self._known_scores().probabilities(np.float16)

    @property
    def nbytes(self) -> int:
        """Size of the image, the class indices and the known scores in bytes."""
        scores = 0 if self._scores is None else self._scores.nbytes
        return self.image.nbytes + self.labels.nbytes + scores

    def drop_scores(self) -> None:
        """Free the network's maps; confidence and probabilities then run the network again."""
        self._scores = None

    def _known_scores(self) -> ImageScores:
        scores = self._scores
        if scores is None:
            scores = self._scores = self._compute_scores()
        return scores
