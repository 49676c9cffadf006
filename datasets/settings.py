"""Options shared by the commands that work on a data set."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings, option
from datasets.keys import APPLY, IGNORE, MAX_PIXELS, ImageReading


@dataclass(frozen=True)
class DataSettings(Settings):
    """Name and folder of a data set, and a list file in place of its splits.

    Attributes:
        name: Name of the data set.
        data_dir: Folder of the data set; None for ``data/NAME``.
        list_file: A list of images and labels in place of the splits.
        bit_depth: As the config key.
        exif_orientation: As the config key.
        max_pixels: As the config key.
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
    bit_depth: int | None = option(
        '--bit-depth',
        metavar='N',
        type=int,
        choices=range(8, 17),
        help='bits that the values in image files of 16 bits per channel really use; '
        'config key: bit_depth',
    )
    exif_orientation: str | None = option(
        '--exif-orientation',
        choices=(APPLY, IGNORE),
        help='whether images are turned as their EXIF orientation says (default) or kept as '
        'stored; config key: exif_orientation',
    )
    max_pixels: int = option(
        '--max-pixels',
        metavar='N',
        type=int,
        default=MAX_PIXELS,
        help=f'pixels of the largest image or label that is read; default: {MAX_PIXELS}; '
        'config key: max_pixels',
    )

    @property
    def reading(self) -> ImageReading:
        """How to read the images."""
        return ImageReading(
            bit_depth=self.bit_depth,
            exif_orientation=self.exif_orientation,
            max_pixels=self.max_pixels,
        )
