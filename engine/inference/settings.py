"""Settings of inference: weights, inference protocol and looks of the results."""

from __future__ import annotations  # so that an older Python can import this module

from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings

BACKEND_TITLE = 'backend of the computation; in float32, results differ by rounding errors only'
PROTOCOL_TITLE = 'how the network sees an image (default: as the config says)'

RANDOM = 'random'  # in place of a file of weights; a file of this name is ./random


def parse_size(text: str) -> tuple[int, int]:
    """Parse a text such as ``512x1024`` into a height and a width.

    Raises:
        ValueError: The text has another format; the command line shows the message to the user.
    """
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f'{text!r}: write it as HEIGHTxWIDTH, such as 512x1024')
    return int(height), int(width)


def _numbers(kind: type, most: int) -> Callable[[str], tuple]:
    """Return a parser of comma-separated numbers above 0 and up to ``most``."""

    def parse(text: str) -> tuple:
        try:
            values = tuple(kind(part) for part in text.split(','))
        except ValueError:
            values = (0,)
        if not all(0 < value <= most for value in values):
            raise ValueError(
                f'{text!r}: write numbers above 0 and up to {most}, separated by commas'
            )
        return values

    return parse


def _number(text: str) -> int:
    most = 100_000
    if not (text.isdecimal() and 0 < int(text) <= most):
        raise ValueError(f'{text!r}: write one whole number, from 1 to {most}')
    return int(text)


@dataclass(frozen=True)
class WeightsSettings(Settings):
    """The weights of a network and where to download them."""

    weights: str | None = option(
        '-m',
        '--model',
        '--weights',
        metavar='H5',
        help='weights: a file, the name of published weights, which are downloaded if they are '
        f'missing, or {RANDOM}: seeded random ones, for trying a config; infer.py and evaluate.py '
        'also run an .onnx or .xml of engine.export, without a config (default: the '
        "config's)",
    )
    partial: bool = flag(
        '--partial',
        help='accept weights with missing or extra parameters, such as a backbone',
    )
    allow_non_finite: bool = flag(
        '--allow-non-finite',
        help='accept weights with NaN or infinity, which are refused otherwise',
    )
    weights_url: str | None = option(
        '--weights-url', metavar='URL', help='download published weights from this address'
    )


@dataclass(frozen=True)
class ProtocolSettings(Settings):
    """Settings that override the config's :class:`engine.inference.test_time.Protocol`.

    Sizes are (height, width) in pixels; None keeps the config's value.
    """

    size: tuple[int, int] | None = option(
        '--size', type=parse_size, metavar='HxW', help='resize every image to this'
    )
    scales: tuple[float, ...] | None = option(
        '--scales',
        '--scale',
        type=_numbers(float, most=16),
        metavar='S[,S...]',
        help='resize by these factors and average; a single factor below 1 suits large images',
    )
    trained_area: bool = flag(
        '--trained-area',
        help='scale every image to as many pixels as the images of the training had; --scales '
        'then count from there',
    )
    flip: bool | None = option(
        '--flip', action='store_true', help='average with the mirrored image'
    )
    window: tuple[int, int] | None = option(
        '--slide', type=parse_size, metavar='HxW', help='cut into overlapping windows of this size'
    )
    stride: tuple[int, int] | None = option(
        '--stride',
        type=parse_size,
        metavar='HxW',
        help='distance between windows (default: 2/3 of their size)',
    )
    short_sides: tuple[int, ...] | None = option(
        '--short-sides',
        type=_numbers(int, most=10_000),
        metavar='N[,N...]',
        help='resize the shorter side to these lengths and average',
    )
    max_size: int | None = option(
        '--max-size',
        type=_number,
        metavar='N',
        help='largest length of the longer side with --short-sides',
    )


@dataclass(frozen=True)
class LooksSettings(Settings):
    """Looks of the results, and files written beside them.

    Raises:
        UserError: The opacity is out of range.
    """

    opacity: float = option(
        '--opacity',
        default=0.5,
        type=float,
        help='opacity of the class colours, above 0 and at most 1 (default: %(default)s)',
    )
    legend: bool = flag(
        '--legend',
        help='draw class names and colours beside the picture',
    )
    save_labels: bool = flag(
        '--save-labels',
        help='write class indices to <picture>_labels.png, and depth x 256 to a 16-bit PNG',
    )
    save_color: bool = flag(
        '--save-color',
        help='write class indices with a colour palette to <picture>_color.png',
    )
    save_confidence: bool = flag(
        '--save-confidence',
        help="write the probability of each pixel's class to <picture>_confidence.png, 255 for 1",
    )
    save_probabilities: bool = flag(
        '--save-probabilities',
        help='write the probabilities of all classes to <picture>_probabilities.npz',
    )

    @property
    def need_scores(self) -> bool:
        """Whether a file is written that needs more than the class of each pixel."""
        return self.save_confidence or self.save_probabilities

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.opacity <= 1:
            raise UserError(f'--opacity must be above 0 and at most 1, not {self.opacity:g}')


@dataclass(frozen=True)
class SegmentSettings(Settings):
    """Settings of infer.py: what to segment, the network and the paths of the results."""

    inputs: tuple[str, ...] = option(
        '-i',
        '--test-image-file',
        default=(),
        action='extend',
        nargs='+',
        required=True,
        metavar='FILE',
        help='an image, a video, a folder or a quoted pattern; accepts several. Or one of these: '
        'the number of a camera, an address (rtsp://, http://, https://) of a stream, or - for an '
        'image from standard input',
    )
    output: str | None = option(
        '-o',
        '--output',
        metavar='PATH',
        help='picture or video of a single input (default: result.jpg or result.mp4), '
        'or folder of several (default: results)',
    )
    first_input: str | None = option(
        '--first-input',
        metavar='PATH',
        help='of networks with two inputs: the first picture of the scene, such as optical flow, '
        'or a folder of such pictures under the names of the images; videos need none',
    )
    frames: int | None = option(
        '--frames',
        type=_number,
        metavar='N',
        help='end a video or stream after N segmented frames',
    )
    looks: LooksSettings = group(LooksSettings, 'looks of the results, and files beside them')
    weights: WeightsSettings = group(WeightsSettings)
    config: ConfigSettings = group(ConfigSettings)
    device: DeviceSettings = group(DeviceSettings)
    backend: BackendSettings = group(BackendSettings, BACKEND_TITLE)
    protocol: ProtocolSettings = group(ProtocolSettings, PROTOCOL_TITLE)
