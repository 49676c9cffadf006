"""Options of ``python -m datasets.prepare``."""

from dataclasses import dataclass
from pathlib import Path

from common import machine
from common.errors import UserError
from common.settings import Settings, flag, option
from datasets.keys import MAX_PIXELS, ImageReading
from datasets.settings import DataSettings


@dataclass(frozen=True)
class FormSettings(Settings):
    """Options that all forms of ``python -m datasets.prepare`` for a user's own files have.

    Attributes:
        processes: Number of worker processes; None for one per core.
        max_pixels: As the config key.
    """

    processes: int | None = option(
        '--processes',
        type=int,
        metavar='N',
        help='number of worker processes; default: one per available core',
    )
    max_pixels: int = option(
        '--max-pixels',
        metavar='N',
        type=int,
        default=MAX_PIXELS,
        help=f'pixels of the largest image, mask or frame that is read; default: {MAX_PIXELS}',
    )

    @property
    def reading(self) -> ImageReading:
        """How to read the images."""
        return ImageReading(max_pixels=self.max_pixels)


@dataclass(frozen=True)
class OwnDataSettings(FormSettings):
    """Options of the forms for a folder of images and masks.

    Attributes:
        data_dir: The folder of the data set; None for ``data/folder``.
    """

    data_dir: Path | None = option(
        '-d',
        '--data-dir',
        metavar='DIR',
        type=Path,
        help='folder of the images and masks; default: data/folder',
    )


def number_of_processes(wanted: int | None) -> int:
    """Return the number of worker processes; raise ``UserError`` for less than 1."""
    if wanted is None:
        return machine.cores()
    if wanted < 1:
        raise UserError(f'--processes {wanted}: at least 1 is needed')
    return wanted


@dataclass(frozen=True)
class PreparationSettings(DataSettings):
    """Options of ``python -m datasets.prepare``; its actions run in a fixed order."""

    split: tuple[str, ...] = option(
        '--split',
        action='extend',
        nargs='+',
        default=(),
        metavar='S',
        help='splits to process; default: all that exist, with --stats or --list: train',
    )
    download: bool = flag(
        '--download',
        help='download and unpack the data set, if that needs no account',
    )
    url: str | None = option(
        '--url',
        metavar='BASE',
        help='base address of the downloads; default: $NNSEG_DATA_URL, else that of the authors',
    )
    keep_archives: bool = flag(
        '--keep-archives',
        help='do not delete archives after unpacking',
    )
    convert: bool = flag(
        '--convert',
        help='write labels as PNG files of class indices',
    )
    check: bool = flag(
        '--check',
        help='read all files, report problems and classes; packed data: verify bytes and sources',
    )
    stats: bool = flag(
        '--stats',
        help='mean and standard deviation of the colours, class weights',
    )
    pack: Path | None = option(
        '--pack', metavar='FOLDER', type=Path, help='write memory-mapped arrays for fast training'
    )
    processes: int | None = option(
        '--processes',
        type=int,
        metavar='N',
        help='number of worker processes; default: one per available core',
    )
    json_file: Path | None = option(
        '--json', metavar='FILE', type=Path, help='also write the results to this file'
    )
