"""Which data the commands of data sets are about."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings, option


@dataclass(frozen=True)
class DataSettings(Settings):
    """A data set by its name, its folder, and a list that takes the place of its splits."""

    name: str = option(help='the data set, such as cityscapes')
    data_dir: Path | None = option(
        '-d', '--data-dir', metavar='DIR', type=Path, help='its folder; default: data/NAME'
    )
    list_file: Path | None = option(
        '--list', metavar='FILE', type=Path, help='a list of images and labels of its own'
    )
