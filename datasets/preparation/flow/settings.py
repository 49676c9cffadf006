"""Options of ``python -m datasets.prepare flow``."""

from dataclasses import dataclass
from pathlib import Path

from common.settings import option
from datasets.preparation.flow.compute import FARNEBACK, METHODS
from datasets.preparation.settings import FormSettings


@dataclass(frozen=True)
class FlowSettings(FormSettings):
    """Options of ``python -m datasets.prepare flow``."""

    source: Path | None = option(
        metavar='SOURCE',
        type=Path,
        help='folder of Cityscapes with leftImg8bit and leftImg8bit_sequence; or any folder of '
        'frames, with numbers in their names; or a video',
    )
    output: Path | None = option(
        '-o',
        '--output',
        metavar='FOLDER',
        type=Path,
        help="folder to write the pictures of flow to, under the frames' names; default, for "
        'Cityscapes only: leftImg8bit_flow_confidence_768x384 in it',
    )
    images: Path | None = option(
        '--images',
        metavar='FOLDER',
        type=Path,
        help='folder to write the frames of a video to, which the pictures of flow belong to',
    )
    method: str = option(
        '--method',
        default=FARNEBACK,
        choices=METHODS,
        help="how to compute it: farneback, as TI's, or dis, which is faster; default: farneback",
    )
    height: int | None = option(
        '--height',
        metavar='PIXELS',
        type=int,
        help='height of the pictures of flow, whose shape is that of the frames; default: that of '
        'the frames, for Cityscapes 384',
    )
