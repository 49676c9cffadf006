"""Settings of an evaluation."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.settings import Settings, flag, group, option
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.inference.settings import (
    BACKEND_TITLE,
    PROTOCOL_TITLE,
    ProtocolSettings,
    WeightsSettings,
)

SHEET_NAME = 'worst_images.png'  # in the folder of --visualize
MAX_WORST = 100  # images on the sheet


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """Settings of evaluate.py: the images, the network and the files to write.

    Raises:
        UserError: The settings contradict each other, or a value is out of range.
    """

    data_dir: str | None = option(
        '-d',
        '--data-dir',
        metavar='DIR',
        help="the data set's folder (default: the config's, else data/<data set>)",
    )
    split: str | None = option(
        '--split', help="split of the data set (default: the config's, else val)"
    )
    list_file: str | None = option(
        '--list',
        metavar='FILE',
        help='evaluate the images of this file instead: one image and one label per line',
    )
    limit: int | None = option(
        '--limit', type=int, metavar='N', help='evaluate only the first N images'
    )
    boundary: bool = flag('--boundary', help='compute boundary IoU as well')
    json: Path | None = option(
        '--json',
        type=Path,
        metavar='FILE',
        help='write the scores and the confusion matrix to this file',
    )
    confusion: Path | None = option(
        '--confusion',
        type=Path,
        metavar='FILE.png',
        help='draw the confusion matrix; also as .svg or .pdf',
    )
    per_image: Path | None = option(
        '--per-image',
        type=Path,
        metavar='FILE.csv',
        help='write the scores of every image, the worst image first',
    )
    visualize: Path | None = option(
        '--visualize',
        type=Path,
        metavar='DIR',
        help='write image, truth, prediction and error map of every image, large images reduced '
        '(with --format-only: image and prediction)',
    )
    worst: int | None = option(
        '--worst',
        type=int,
        metavar='N',
        help='with --visualize: show the N images of the lowest mIoU on one sheet as well, '
        f'DIR/{SHEET_NAME}',
    )
    save_labels: Path | None = option(
        '--save-labels', type=Path, metavar='DIR', help='write the predicted class indices'
    )
    format_only: Path | None = option(
        '--format-only',
        type=Path,
        metavar='DIR',
        help='write the files that the test server requires, and no scores; needs no labels',
    )
    weights: WeightsSettings = group(WeightsSettings)
    config: ConfigSettings = group(ConfigSettings)
    device: DeviceSettings = group(DeviceSettings)
    backend: BackendSettings = group(BackendSettings, BACKEND_TITLE)
    protocol: ProtocolSettings = group(ProtocolSettings, PROTOCOL_TITLE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None and self.limit < 1:
            raise UserError(f'--limit must be at least 1, not {self.limit}')
        if self.worst is not None:
            if not 1 <= self.worst <= MAX_WORST:
                raise UserError(
                    f'--worst must be at least 1 and at most {MAX_WORST}, not {self.worst}'
                )
            if self.visualize is None:
                raise UserError(f'--worst {self.worst} needs a folder: add --visualize DIR')
        if self.format_only:
            scores = ('json', 'boundary', 'confusion', 'per_image', 'worst')
            for name in scores:
                if getattr(self, name):
                    raise UserError(
                        f'--format-only computes no scores; leave out --{name.replace("_", "-")}'
                    )
