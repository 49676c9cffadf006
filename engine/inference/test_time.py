"""Inference protocols: at which sizes, mirrored or not, whole or in windows an image is seen.

Where a protocol has several views of an image, the class probabilities of all views are averaged at
the image's own size, each view with the same weight; the class with the largest mean wins.
"""

from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from common.command import Parser
from common.errors import UserError
from common.sections import config_key
from datasets.keys import SizeMultipleKeys

Size = tuple[int, int]  # height, width
LONGEST_SIDE, SIZE_MULTIPLE = 1000, 8  # CSAIL's


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

    def __post_init__(self):
        if self.short_sides and (self.size or self.scales != (1.0,)):
            raise UserError(
                '--short-sides (test_short_sides) takes the place of --size (test_size) and '
                '--scales (test_scales); give one of them'
            )
        if self.stride and not self.window:
            raise UserError(
                '--stride (test_stride) belongs to --slide (test_window), which is not given'
            )
        if self.stride and any(s > w for s, w in zip(self.stride, self.window)):
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

    def _by_short_side(self, height, width, short):
        scale = min(short / min(height, width), self.max_size / max(height, width))
        return tuple(
            max(1, -(-int(side * scale) // self.multiple)) * self.multiple
            for side in (height, width)
        )

    def windows(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """The windows of a view, row by row; the last ones are moved inwards to end at its edge."""
        stride = self.stride or tuple(max(1, side * 2 // 3) for side in self.window)
        window = tuple(map(min, self.window, (height, width)))
        tops, lefts = (
            sorted({min(at, full - side) for at in range(0, full - side + step, step)})
            for full, side, step in zip((height, width), window, stride)
        )
        for top in tops:
            for left in lefts:
                yield slice(top, top + window[0]), slice(left, left + window[1])

    def describe(self) -> dict:
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


OPTIONS = ('size', 'scales', 'flip', 'window', 'stride', 'short_sides', 'max_size')


def add_options(parser: Parser):
    """The protocol's options, the same for every command; what is not given is the config's."""
    group = parser.add_argument_group('how an image is shown to the network; default: the config')
    group.add_argument('--size', type=_size, metavar='HxW', help='resize every image to this')
    group.add_argument(
        '--scales',
        '--scale',
        type=_numbers(float, most=16),
        metavar='S[,S...]',
        help='resize by these factors and average; a single one below 1 suits large images',
    )
    group.add_argument(
        '--flip', action='store_true', default=None, help='average with the mirrored image'
    )
    group.add_argument(
        '--slide', dest='window', type=_size, metavar='HxW', help='cut into overlapping windows'
    )
    group.add_argument(
        '--stride', type=_size, metavar='HxW', help='between windows (default: 2/3 of them)'
    )
    group.add_argument(
        '--short-sides',
        type=_numbers(int, most=10_000),
        metavar='N[,N...]',
        help='resize the shorter side to these and average',
    )
    group.add_argument(
        '--max-size', type=_number, metavar='N', help='most that the longer side has then'
    )


def choose(args, config: Mapping) -> Protocol:
    """The protocol of the options, completed by the config's ``test_*`` keys; args may be None.

    An option that says how large a view is replaces what the config says of it in another way.
    """
    options = {name: getattr(args, name, None) for name in OPTIONS}
    given = {name: value for name, value in options.items() if value is not None}
    settings = {
        name: _immutable(config[f'test_{name}']) for name in OPTIONS if f'test_{name}' in config
    }
    if given.keys() & {'size', 'scales', 'short_sides'}:
        for name in ('size', 'scales', 'short_sides'):
            settings.pop(name, None)
    if 'window' in given:
        settings.pop('stride', None)
    settings |= given
    if 'max_size' in given and not settings.get('short_sides'):
        raise UserError('--max-size belongs to --short-sides, which is not given')
    if not settings.get('short_sides'):
        settings.pop('max_size', None)
    elif 'size_multiple' in config:
        settings['multiple'] = config['size_multiple']
    return Protocol(**settings)


def _immutable(value):
    return tuple(value) if isinstance(value, list) else value


def _size(text: str) -> Size:
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ArgumentTypeError(f'{text!r}: write it as HEIGHTxWIDTH, such as 512x1024')
    return int(height), int(width)


def _number(text: str) -> int:
    (value,) = _numbers(int, most=100_000)(text)[:1]
    return value


def _numbers(kind, most):
    def parse(text: str) -> tuple:
        try:
            values = tuple(kind(part) for part in text.split(','))
        except ValueError:
            values = (0,)
        if not all(0 < value <= most for value in values):
            raise ArgumentTypeError(
                f'{text!r}: write numbers above 0 and up to {most}, with commas between them'
            )
        return values

    return parse
