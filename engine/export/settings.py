"""Settings of an export."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.backends.base import FLOAT32
from engine.config.settings import ConfigSettings
from engine.inference.settings import WeightsSettings

NAMED_SIZES = {
    'vga': (480, 640),
    'hd': (720, 1280),
    'fullhd': (1080, 1920),
    'cityscapes': (1024, 2048),
    'camvid': (720, 960),
}


@dataclass(frozen=True)
class FormSettings(Settings):
    """Input, output and precision of the exported network.

    Raises:
        UserError: Calibration images are passed without ``--precision int8``.
    """

    size: str | None = option(
        '--size',
        metavar='HxW',
        help='size of the image, such as 512x1024, or a name: test or training (of the config), '
        f'{", ".join(NAMED_SIZES)}, rounded to the nearest that the network accepts, or dynamic: '
        'images of every size; ONNX and OpenVINO only (default: test, else training)',
    )
    batch_size: int = option(
        '--batch-size',
        default=1,
        type=int,
        metavar='N',
        exclusive='number',
        help='number of images (default: %(default)s)',
    )
    dynamic_batch: bool = flag(
        '--dynamic-batch',
        exclusive='number',
        help='accept any number of images; ONNX and OpenVINO only',
    )
    output: str = option(
        '--output',
        default='logits',
        choices=('logits', 'probabilities', 'labels', 'maps'),
        help="logits: class scores before the softmax, the network's maps resized bilinearly to "
        'the size of the image; probabilities: their softmax; labels: their argmax; '
        "maps: the logits at the network's own resolution (default: %(default)s)",
    )
    normalise: str | None = option(
        '--normalise',
        nargs='?',
        const='',
        choices=('', 'uint8', 'float32'),
        metavar='TYPE',
        help="normalise in the file: its input is (N, 3, H, W) in the network's channel order, 0 "
        'to 255, uint8 (the default for ONNX and OpenVINO) or float32; without this option it is '
        '(x - mean) / std, float32',
    )
    precision: str = option(
        '--precision',
        default=FLOAT32,
        choices=(FLOAT32, 'int8'),
        help='float32, or int8, calibrated on images; .xml only (default: %(default)s)',
    )
    calibration: str | None = option(
        '--calibration',
        metavar='DIR|GLOB',
        help='calibration images for --precision int8 (default: the training images of the '
        "config's data set)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.calibration is not None and self.precision == FLOAT32:
            raise UserError('--calibration requires --precision int8')


@dataclass(frozen=True)
class ExportSettings(Settings):
    """Settings of ``python -m engine.export``: the network, the file and its form."""

    output_file: Path | None = option(
        '-o',
        '--output-file',
        required=True,
        type=Path,
        metavar='FILE',
        help='file to write; its ending selects the format: .onnx, .xml (OpenVINO, with a .bin '
        'beside it), .nnp or .nnb',
    )
    config: ConfigSettings = group(ConfigSettings)
    weights: WeightsSettings = group(WeightsSettings)
    form: FormSettings = group(FormSettings, 'input, output and precision of the file')
