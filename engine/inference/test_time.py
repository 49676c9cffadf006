"""Inference protocols: at which sizes, mirrored or not, whole or in windows an image is seen.

Where a protocol has several views of an image, the class probabilities of all views are averaged at
the image's own size, each view with the same weight; the class with the largest mean wins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from common.errors import UserError
from common.sections import config_key
from datasets.keys import SizeMultipleKeys
from engine.inference.settings import ProtocolSettings

Size = tuple[int, int]  # height, width
LONGEST_SIDE, SIZE_MULTIPLE = 1000, 8  # CSAIL's


def size_of(image: np.ndarray) -> Size:
    """Return the height and the width of an image (H, W, ...)."""
    height, width = image.shape[:2]
    return height, width


@dataclass(frozen=True)
class Protocol:
    """How an image is shown to a network. Sizes are (height, width) in pixels.

    size: every image is resized to it (TI). scales: factors of the image's size, or of ``size``.
    short_sides: the shorter side of the view, whose longer side is at most max_size; both are
    rounded up to a multiple by resizing (CSAILVision/semantic-segmentation-pytorch, commit
    8f27c9b97d2ca7c6e05333d5766d144bf7d8c31b, mit_semseg/dataset.py); takes the place of scales.
    multiple: of both sides then. flip: each view is shown mirrored too. window: a view is cut into
    overlapping windows of this size, or its own where that is smaller, ``stride`` apart (default:
    two thirds of the window), and their probabilities are averaged with weights that fall linearly
    towards a window's edges.
    """

    size: Size | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: Size | None = None
    stride: Size | None = None
    short_sides: tuple[int, ...] | None = None
    max_size: int = LONGEST_SIDE
    multiple: int = SIZE_MULTIPLE

    def __post_init__(self) -> None:
        if self.short_sides and (self.size or self.scales != (1.0,)):
            raise UserError(
                '--short-sides (test_short_sides) takes the place of --size (test_size) and '
                '--scales (test_scales); give one of them'
            )
        if self.stride and not self.window:
            raise UserError(
                '--stride (test_stride) belongs to --slide (test_window), which is not given'
            )
        if self.stride and any(s > w for s, w in zip(self.stride, self.window or ())):
            raise UserError(
                '--stride (test_stride) is larger than the window of --slide (test_window): '
                'pixels would be left out'
            )

    def views(self, height: int, width: int) -> list[Size]:
        """The sizes at which an image of ``height`` x ``width`` is shown."""
        if self.short_sides:
            return [self._by_short_side(height, width, short) for short in self.short_sides]
        height, width = self.size or (height, width)
        return [(max(1, round(height * s)), max(1, round(width * s))) for s in self.scales]

    def _by_short_side(self, height: int, width: int, short: int) -> Size:
        scale = min(short / min(height, width), self.max_size / max(height, width))

        def rounded_up(side: int) -> int:
            return max(1, -(-int(side * scale) // self.multiple)) * self.multiple

        return rounded_up(height), rounded_up(width)

    def windows(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """The windows of a view, row by row; the last ones are moved inwards to end at its edge."""
        stride = self.stride or [max(1, side * 2 // 3) for side in self.window or (height, width)]
        window = self.window_of(height, width)
        tops, lefts = (
            sorted({min(at, full - side) for at in range(0, full - side + step, step)})
            for full, side, step in zip((height, width), window, stride)
        )
        for top in tops:
            for left in lefts:
                yield slice(top, top + window[0]), slice(left, left + window[1])

    def window_of(self, height: int, width: int) -> Size:
        """Return the size of the windows of a view, which is the view's where that is smaller."""
        largest = self.window or (height, width)
        return min(largest[0], height), min(largest[1], width)

    def describe(self) -> dict[str, Any]:
        """The settings that differ from one view at the image's size, for reports."""
        plain = Protocol()
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != getattr(plain, field.name)
        }


@dataclass(frozen=True, kw_only=True)
class ProtocolKeys(SizeMultipleKeys):
    """How an image is shown to the network, unless the command line says it."""

    test_size: tuple[int, int] | None = config_key(
        None, 'height and width that images are resized to', least=1, default_text="the image's"
    )
    test_scales: tuple[float, ...] | None = config_key(
        None,
        'factors of the size, whose results are averaged',
        above=0,
        most=16,
        default_text='[1]',
    )
    test_flip: bool = config_key(False, 'average with the mirrored image')
    test_window: tuple[int, int] | None = config_key(
        None, 'height and width of overlapping windows', least=1, default_text='the whole image'
    )
    test_stride: tuple[int, int] | None = config_key(
        None, 'pixels between windows, down and across', least=1, default_text='2/3 of test_window'
    )
    test_short_sides: tuple[int, ...] | None = config_key(
        None, 'lengths of the shorter side in pixels, whose results are averaged', least=1
    )
    test_max_size: int | None = config_key(
        None,
        'most that the longer side has with test_short_sides, in pixels',
        least=1,
        default_text='1000',
    )


def of_config(config: Mapping[str, Any]) -> Protocol:
    """Return the protocol that a config says."""
    return choose(ProtocolSettings(), ProtocolKeys.of(config))


def choose(given: ProtocolSettings, keys: ProtocolKeys) -> Protocol:
    """Return the protocol of a user's settings, completed by the keys of a config.

    A setting that says how large a view is replaces what the config says of it in another way.

    Raises:
        UserError: The settings contradict each other, or the config.
    """
    if given.size or given.scales or given.short_sides:
        size, scales, short_sides = given.size, given.scales, given.short_sides
    else:
        size, scales, short_sides = keys.test_size, keys.test_scales, keys.test_short_sides
    if given.max_size and not short_sides:
        raise UserError('--max-size belongs to --short-sides, which is not given')
    protocol = Protocol(
        size=size,
        scales=scales or (1.0,),
        flip=keys.test_flip if given.flip is None else given.flip,
        window=given.window or keys.test_window,
        stride=given.stride or (None if given.window else keys.test_stride),
        short_sides=short_sides,
    )
    if not short_sides:
        return protocol
    return replace(
        protocol,
        max_size=given.max_size or keys.test_max_size or LONGEST_SIDE,
        multiple=keys.size_multiple,
    )
