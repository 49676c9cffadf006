"""What a user says of inference: weights, how images are shown, how results look."""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings

BACKEND_TITLE = 'what computes; the numbers are the same but for rounding'
PROTOCOL_TITLE = 'how an image is shown to the network; default: the config'


def parse_size(text: str) -> tuple[int, int]:
    """Return the height and the width that a text such as ``512x1024`` says.

    Raises:
        ValueError: With a message for the user.
    """
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f'{text!r}: write it as HEIGHTxWIDTH, such as 512x1024')
    return int(height), int(width)


def _numbers(kind: type, most: int) -> Callable[[str], tuple]:
    def parse(text: str) -> tuple:
        try:
            values = tuple(kind(part) for part in text.split(','))
        except ValueError:
            values = (0,)
        if not all(0 < value <= most for value in values):
            raise ValueError(
                f'{text!r}: write numbers above 0 and up to {most}, with commas between them'
            )
        return values

    return parse


def _number(text: str) -> int:
    (value,) = _numbers(int, most=100_000)(text)[:1]
    return value


@dataclass(frozen=True)
class WeightsSettings(Settings):
    """Which weights a network gets, and from where."""

    weights: str | None = option(
        '-m',
        '--model',
        metavar='H5',
        help='weights: a file, or the name of a published one, which is downloaded when it is not '
        "there (default: the config's)",
    )
    partial: bool = flag(
        '--partial',
        help='load weights that lack parameters or have others, such as a backbone',
    )
    weights_url: str | None = option(
        '--weights-url', metavar='URL', help='the address to download published weights from'
    )


@dataclass(frozen=True)
class ProtocolSettings(Settings):
    """What of :class:`engine.inference.test_time.Protocol` is not as the config says.

    Sizes are (height, width) in pixels; None: what the config says.
    """

    size: tuple[int, int] | None = option(
        '--size', type=parse_size, metavar='HxW', help='resize every image to this'
    )
    scales: tuple[float, ...] | None = option(
        '--scales',
        '--scale',
        type=_numbers(float, most=16),
        metavar='S[,S...]',
        help='resize by these factors and average; a single one below 1 suits large images',
    )
    flip: bool | None = option(
        '--flip', action='store_true', help='average with the mirrored image'
    )
    window: tuple[int, int] | None = option(
        '--slide', type=parse_size, metavar='HxW', help='cut into overlapping windows'
    )
    stride: tuple[int, int] | None = option(
        '--stride', type=parse_size, metavar='HxW', help='between windows (default: 2/3 of them)'
    )
    short_sides: tuple[int, ...] | None = option(
        '--short-sides',
        type=_numbers(int, most=10_000),
        metavar='N[,N...]',
        help='resize the shorter side to these and average',
    )
    max_size: int | None = option(
        '--max-size', type=_number, metavar='N', help='most that the longer side has then'
    )


@dataclass(frozen=True)
class LooksSettings(Settings):
    """How results look, and what is written beside them.

    Raises:
        UserError: The opacity is out of range.
    """

    opacity: float = option(
        '--opacity',
        default=0.5,
        type=float,
        help='of the class colours, above 0 and at most 1 (default: %(default)s)',
    )
    legend: bool = flag(
        '--legend',
        help='draw class names and colours beside the picture',
    )
    save_labels: bool = flag(
        '--save-labels',
        help='write class indices to <picture>_labels.png',
    )
    save_color: bool = flag(
        '--save-color',
        help='write class indices with a colour palette to <picture>_color.png',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.opacity <= 1:
            raise UserError(f'--opacity must be above 0 and at most 1, not {self.opacity:g}')


@dataclass(frozen=True)
class SegmentSettings(Settings):
    """What infer.py does: which files it segments, with which network, and where results go."""

    inputs: tuple[str, ...] = option(
        '-i',
        '--test-image-file',
        default=(),
        nargs='+',
        required=True,
        metavar='FILE',
        help='an image, a video, a folder, or a pattern in quotes; several are taken',
    )
    output: str | None = option(
        '-o',
        '--output',
        metavar='PATH',
        help='the picture of one input (default: result.jpg), '
        'the folder of several (default: results)',
    )
    looks: LooksSettings = group(LooksSettings, 'how results look, and what is written beside them')
    weights: WeightsSettings = group(WeightsSettings)
    config: ConfigSettings = group(ConfigSettings)
    device: DeviceSettings = group(DeviceSettings)
    backend: BackendSettings = group(BackendSettings, BACKEND_TITLE)
    protocol: ProtocolSettings = group(ProtocolSettings, PROTOCOL_TITLE)
