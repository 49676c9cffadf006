"""Inference protocols: scales, mirroring and sliding windows of test-time augmentation.

If a protocol has several views of an image, the class probabilities of all views are averaged at
the image's own size with equal weights. The class with the largest mean wins.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from common.errors import UserError
from common.sections import SectionError, config_key
from datasets.keys import SizeMultipleKeys
from engine.inference.settings import ProtocolSettings

Size = tuple[int, int]  # height, width
LONGEST_SIDE, SIZE_MULTIPLE = 1000, 8  # CSAIL's defaults
SET_TRAINED_SIZE = "set it, such as --set 'trained_size=[360, 480]'"


def size_of(image: np.ndarray) -> Size:
    """Return the height and the width of an image (H, W, ...)."""
    height, width = image.shape[:2]
    return height, width


@dataclass(frozen=True)
class Protocol:
    """The views of an image that a network sees. Sizes are (height, width) in pixels.

    Attributes:
        size: Size that every image is resized to, as in TI's EdgeAI-Lite.
        area_of: Size whose number of pixels every image is scaled to. Its shape stays, but for the
            rounding to a multiple, which lets photos of nearly one shape share a compiled network.
        scales: Factors of the size that ``size`` or ``area_of`` gives, or of the image's own.
        flip: Whether the network also sees the mirror image of every view.
        window: Size of overlapping windows that a view is cut into; a smaller view is one window.
            The windows' probabilities are averaged with weights that fall linearly towards a
            window's edges.
        stride: Distance between windows; by default two thirds of the window.
        short_sides: Lengths of the shorter side of the views, in place of ``scales``. Resizing
            rounds both sides up to a multiple (CSAILVision/semantic-segmentation-pytorch, commit
            8f27c9b97d2ca7c6e05333d5766d144bf7d8c31b, mit_semseg/dataset.py).
        max_size: Largest length of the longer side with ``short_sides``.
        multiple: Divisor of both sides with ``short_sides``, and of those that ``area_of`` changes.

    Raises:
        UserError: An attribute has no usable value, or two of them contradict each other.
    """

    size: Size | None = None
    area_of: Size | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: Size | None = None
    stride: Size | None = None
    short_sides: tuple[int, ...] | None = None
    max_size: int = LONGEST_SIDE
    multiple: int = SIZE_MULTIPLE

    def __post_init__(self) -> None:
        self._check_values()
        if self.short_sides and (self.size or self.scales != (1.0,)):
            raise UserError(
                '--short-sides (test_short_sides) replaces --size (test_size) and '
                '--scales (test_scales); use one of them'
            )
        if self.area_of and (self.size or self.short_sides):
            raise UserError(
                '--trained-area (test_trained_area) replaces --size (test_size) and '
                '--short-sides (test_short_sides); use one of them'
            )
        if self.stride and not self.window:
            raise UserError(
                '--stride (test_stride) belongs to --slide (test_window), which is missing'
            )
        if self.stride and any(s > w for s, w in zip(self.stride, self.window or ())):
            raise UserError(
                '--stride (test_stride) is larger than the window of --slide (test_window): '
                'some pixels would be skipped'
            )

    def _check_values(self) -> None:
        for name in ('size', 'area_of', 'window', 'stride'):
            value = getattr(self, name)
            if value is not None and not (_are_positive(value, Integral) and len(value) == 2):
                raise UserError(f'{name}: {value!r} is no (height, width), such as (512, 1024)')
        for name, kind, example in (
            ('scales', Real, '(0.5, 1.0)'),
            ('short_sides', Integral, '(300, 600)'),
        ):
            value = getattr(self, name)
            if value is not None and not _are_positive(value, kind):
                raise UserError(f'{name}: {value!r} are no numbers above 0, such as {example}')

    def views(self, height: int, width: int) -> list[Size]:
        """Return the sizes of the views of an image of ``height`` x ``width`` pixels."""
        if self.short_sides:
            return [self._by_short_side(height, width, short) for short in self.short_sides]
        height, width = self.size or self._of_area(height, width)
        return [(max(1, round(height * s)), max(1, round(width * s))) for s in self.scales]

    def _of_area(self, height: int, width: int) -> Size:
        factor = math.sqrt(math.prod(self.area_of) / (height * width)) if self.area_of else 1
        if factor == 1:
            return height, width

        def rounded(side: int) -> int:
            return max(1, round(side * factor / self.multiple)) * self.multiple

        return rounded(height), rounded(width)

    def _by_short_side(self, height: int, width: int, short: int) -> Size:
        scale = min(short / min(height, width), self.max_size / max(height, width))

        def rounded_up(side: int) -> int:
            return max(1, -(-int(side * scale) // self.multiple)) * self.multiple

        return rounded_up(height), rounded_up(width)

    def windows(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Yield the windows of a view row by row; the last ones are shifted to end at its edges."""
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
        """Return the size of the windows of a view, which is at most the view's size."""
        largest = self.window or (height, width)
        return min(largest[0], height), min(largest[1], width)

    def sees_whole(self, height: int, width: int) -> bool:
        """Return whether the only view of an image is the image as it is."""
        only = not self.flip and not self.window
        return only and self.views(height, width) == [(height, width)]

    def describe(self) -> dict[str, Any]:
        """Return, for reports, the attributes that differ from those of the default protocol."""
        plain = Protocol()
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != getattr(plain, field.name)
        }


def _are_positive(values: Any, kind: type) -> bool:
    """Return whether a value is a sequence of numbers of a kind above 0, and not empty."""
    return (
        isinstance(values, Sequence)
        and bool(values)
        and all(isinstance(each, kind) for each in values)
        and all(0 < each < math.inf for each in values)
    )


@dataclass(frozen=True, kw_only=True)
class ProtocolKeys(SizeMultipleKeys):
    """Views of an image that the network sees, unless the command line overrides them."""

    trained_size: tuple[int, int] | None = config_key(
        None,
        'height and width of the images that the weights were trained on, before random scaling '
        'and cropping',
        least=1,
        default_text='unknown',
    )
    test_trained_area: bool = config_key(
        False, 'scale images to as many pixels as trained_size has; their shape nearly stays'
    )
    test_size: tuple[int, int] | None = config_key(
        None, 'height and width that images are resized to', least=1, default_text="the image's"
    )
    test_scales: tuple[float, ...] | None = config_key(
        None,
        'factors of the size; results are averaged over them',
        above=0,
        most=16,
        default_text='[1]',
    )
    test_flip: bool = config_key(False, 'average with the result of the mirrored image')
    test_window: tuple[int, int] | None = config_key(
        None, 'height and width of overlapping windows', least=1, default_text='the whole image'
    )
    test_stride: tuple[int, int] | None = config_key(
        None,
        'distance between windows in pixels, down and across',
        least=1,
        default_text='2/3 of test_window',
    )
    test_short_sides: tuple[int, ...] | None = config_key(
        None, 'lengths of the shorter side in pixels; results are averaged over them', least=1
    )
    test_max_size: int = config_key(
        LONGEST_SIDE, 'largest length of the longer side in pixels, with test_short_sides', least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ('test_size', 'test_scales', 'test_short_sides', 'test_window', 'test_stride')
        values = {name: value for name in names if (value := getattr(self, name)) is not None}
        given: dict[str, Any] = {name.removeprefix('test_'): v for name, v in values.items()}
        if self.test_trained_area:
            if self.trained_size is None:
                raise SectionError('test_trained_area', f'needs trained_size; {SET_TRAINED_SIZE}')
            values['test_trained_area'], given['area_of'] = True, self.trained_size
        try:
            Protocol(**given)
        except UserError as error:
            raise SectionError(', '.join(values), str(error)) from error


def configured_protocol(config: Mapping[str, Any]) -> Protocol:
    """Return the protocol of a config."""
    return choose_protocol(ProtocolSettings(), ProtocolKeys.of(config))


def choose_protocol(given: ProtocolSettings, keys: ProtocolKeys) -> Protocol:
    """Return the protocol of the settings, completed with the keys of a config.

    If a setting determines the size of the views, the config's keys of sizes are ignored.

    Args:
        given: Settings of the user.
        keys: Keys of the config.

    Raises:
        UserError: The settings contradict each other or the config.
    """
    if given.size or given.scales or given.short_sides or given.trained_area:
        size, scales, short_sides = given.size, given.scales, given.short_sides
        by_area = given.trained_area
    else:
        size, scales, short_sides = keys.test_size, keys.test_scales, keys.test_short_sides
        by_area = keys.test_trained_area
    if by_area and keys.trained_size is None:
        raise UserError(f'--trained-area: the config has no trained_size; {SET_TRAINED_SIZE}')
    if given.max_size and not short_sides:
        raise UserError('--max-size belongs to --short-sides, which is missing')
    protocol = Protocol(
        size=size,
        area_of=keys.trained_size if by_area else None,
        scales=scales or (1.0,),
        flip=keys.test_flip if given.flip is None else given.flip,
        window=given.window or keys.test_window,
        stride=given.stride or (None if given.window else keys.test_stride),
        short_sides=short_sides,
    )
    if short_sides:
        protocol = replace(protocol, max_size=given.max_size or keys.test_max_size)
    if short_sides or by_area:
        protocol = replace(protocol, multiple=keys.size_multiple)
    return protocol
