"""The result of estimating depth in one image."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

import cv2
import numpy as np

from datasets import value_colours
from engine.inference import pictures
from engine.inference.settings import LooksSettings

if TYPE_CHECKING:
    from engine.inference.segmentation import Segmentation

Result = Union['Segmentation', 'DepthMap']
BAR_WIDTH = 0.15  # of the picture's height
MIN_BAR_WIDTH = 60  # pixels, which numbers need


class DepthMap:
    """The depth of every pixel of one image.

    Attributes:
        image: (H, W, 3) uint8, BGR: the image as the network saw it, upright.
        depth: (H, W) float32, metres.
        task: Name of the task.
        tasks: The results of all tasks of the network by name, this one among them.

    Args:
        image: The image.
        depth: Its depth.
        task: Name of the task.
    """

    def __init__(self, image: np.ndarray, depth: np.ndarray, task: str = 'depth'):
        self.image, self.depth, self.task = image, depth, task
        self.tasks: Mapping[str, Result] = {task: self}

    def __repr__(self) -> str:
        height, width = self.depth.shape
        low, high = self.limits
        return f'<DepthMap of {width}x{height} pixels: {low:.1f} to {high:.1f} m>'

    @property
    def limits(self) -> tuple[float, float]:
        """Metres at the ends of the colours of :meth:`overlay`."""
        return value_colours.depth_limits(self.depth)

    @property
    def known(self) -> np.ndarray:
        """The depth, (H, W) float32, with 0, unknown, for the NaN that some weights give."""
        return np.nan_to_num(self.depth)

    @property
    def range(self) -> tuple[float, float, float]:
        """Median of the metres, and the lower and upper end of the middle 90 % of the pixels.

        Pixels of unknown depth do not count; where all are unknown, the three are 0.
        """
        depth = self.known[self.known > 0]
        if not depth.size:
            return 0.0, 0.0, 0.0
        low, middle, high = np.percentile(depth, (5, 50, 95))
        return float(middle), float(low), float(high)

    def picture(self) -> np.ndarray:
        """Return the colours alone with their bar of metres, as infer.py writes them."""
        return self.overlay(1.0, legend=True)

    def overlay(self, opacity: float = 0.5, legend: bool = False) -> np.ndarray:
        """Blend the colours of the depth into the image, from near, red, to far, blue.

        Args:
            opacity: Opacity of the colours, above 0 and at most 1, which shows them alone.
            legend: Whether to attach a bar of the colours with metres on the right.

        Returns:
            (H, W, 3) uint8, BGR; wider with a legend.

        Raises:
            UserError: The opacity is out of range.
        """
        looks, limits = LooksSettings(opacity=opacity, legend=legend), self.limits
        picture = value_colours.paint_depth(self.depth, limits)
        if opacity < 1:
            picture = cv2.addWeighted(picture, looks.opacity, self.image, 1 - looks.opacity, 0)
        if not looks.legend:
            return picture
        height = len(picture)
        width = max(MIN_BAR_WIDTH, round(BAR_WIDTH * height))
        return pictures.attach_panel(picture, value_colours.depth_bar(height, width, limits))

    @property
    def nbytes(self) -> int:
        """Size of the depth in bytes."""
        return self.depth.nbytes

    def drop_scores(self) -> None:
        """Do nothing: there are no scores beside the depth."""
