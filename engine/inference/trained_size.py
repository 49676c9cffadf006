"""Warn once about images that a network sees much larger or smaller than those of its training."""

import math

from common import once
from engine.inference.test_time import Protocol, Size

# Ratio of areas, the square of 2: trainings scale images by 0.5 to 2, so the network knows objects
# up to twice as high and wide as at the size of the training.
FAR_RATIO = 4


def warn_if_far(protocol: Protocol, size: Size, trained: Size | None) -> None:
    """Log a line with a remedy if no view of an image has about the area of the training's images.

    Args:
        protocol: Views of the image that the network sees.
        size: Height and width of the image.
        trained: Height and width of the images of the training; None if they are unknown.
    """
    if trained is None:
        return
    seen = min(protocol.views(*size), key=lambda view: abs(math.log(_ratio(view, trained))))
    ratio = _ratio(seen, trained)
    if 1 / FAR_RATIO <= ratio <= FAR_RATIO:
        return
    chosen = protocol.size or protocol.short_sides or protocol.scales != (1.0,)
    instead = ' (in place of --size, --scales or --short-sides)' if chosen else ''
    once.warn(
        'trained_size',
        f'an image of {_text(size)} pixels is seen by the network at {_text(seen)}, '
        f'{ratio:.2g} times the area of the {_text(trained)} that it was trained on, so classes '
        f'may be wrong; --trained-area{instead} scales every image to that area',
    )


def _ratio(view: Size, trained: Size) -> float:
    return math.prod(view) / math.prod(trained)


def _text(size: Size) -> str:
    return f'{size[1]}x{size[0]}'
