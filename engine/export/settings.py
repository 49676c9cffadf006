"""What a user says of an export."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings, flag, group, option
from engine.config.settings import ConfigSettings
from engine.inference.settings import WeightsSettings

SIZES = {
    'vga': (480, 640),
    'hd': (720, 1280),
    'fullhd': (1080, 1920),
    'cityscapes': (1024, 2048),
    'camvid': (720, 960),
}


@dataclass(frozen=True)
class FormSettings(Settings):
    """What goes into the exported network and what comes out."""

    size: str | None = option(
        '--size',
        metavar='HxW',
        help='of the image, such as 512x1024, or a name: test or training (of the config), '
        f'{", ".join(SIZES)}, brought to the nearest that the network takes (default: test, else '
        'training)',
    )
    batch_size: int = option(
        '--batch-size',
        default=1,
        type=int,
        metavar='N',
        exclusive='number',
        help='images (default: %(default)s)',
    )
    dynamic_batch: bool = flag(
        '--dynamic-batch',
        exclusive='number',
        help='any number of images; ONNX only',
    )
    output: str = option(
        '--output',
        default='logits',
        choices=('logits', 'probabilities', 'labels', 'maps'),
        help="logits: class scores before the softmax, the network's maps resized bilinearly to "
        'the size of the image; probabilities: their softmax; labels: the class of the largest; '
        "maps: the logits at the network's own resolution (default: %(default)s)",
    )
    normalise: str | None = option(
        '--normalise',
        nargs='?',
        const='',
        choices=('', 'uint8', 'float32'),
        metavar='TYPE',
        help="the file normalises: its input is (N, 3, H, W) in the network's channel order, 0 to "
        '255, uint8 (the default for ONNX) or float32; without this option it is (x - mean) / std, '
        'float32',
    )


@dataclass(frozen=True)
class ExportSettings(Settings):
    """What ``python -m engine.export`` does: which network it writes to which file, and how."""

    output_file: Path | None = option(
        '-o',
        '--output-file',
        required=True,
        type=Path,
        metavar='FILE',
        help='its ending, .onnx, .nnp or .nnb, says what is written',
    )
    config: ConfigSettings = group(ConfigSettings)
    weights: WeightsSettings = group(WeightsSettings)
    form: FormSettings = group(FormSettings, 'what goes in and what comes out')
