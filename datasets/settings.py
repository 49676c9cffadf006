"""Options shared by the commands that work on a data set."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings, option


@dataclass(frozen=True)
class DataSettings(Settings):
    """Name and folder of a data set, and a list file in place of its splits.

    Attributes:
        name: Name of the data set.
        data_dir: Folder of the data set; None for ``data/NAME``.
        list_file: A list of images and labels in place of the splits.
    """

    name: str = option(help='name of the data set, such as cityscapes')
    data_dir: Path | None = option(
        '-d',
        '--data-dir',
        metavar='DIR',
        type=Path,
        help='folder of the data set; default: data/NAME',
    )
    list_file: Path | None = option(
        '--list',
        metavar='FILE',
        type=Path,
        help='list of images and labels, in place of the splits',
    )
