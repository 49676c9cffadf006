"""Options of ``python -m datasets.prepare``."""

from dataclasses import dataclass
from pathlib import Path

from common.settings import flag, option
from datasets.settings import DataSettings


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
