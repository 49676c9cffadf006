"""Options of ``python -m datasets.prepare split``."""

from dataclasses import dataclass

from common.settings import option
from datasets.preparation.settings import OwnDataSettings


@dataclass(frozen=True)
class SplitSettings(OwnDataSettings):
    """Options of ``python -m datasets.prepare split``."""

    val: float = option(
        '--val',
        metavar='SHARE',
        type=float,
        default=0.2,
        help='share of the images for validation, or from 1 on their number; default: 0.2',
    )
    test: float = option(
        '--test',
        metavar='SHARE',
        type=float,
        default=0.0,
        help='share or number of the images for a test split; default: none',
    )
    group: str | None = option(
        '--group',
        metavar='PATTERN',
        help='keep images of one scene in one split: those whose names, below the folder of images '
        "and without ending, have the same text where this regular expression matches, or in its "
        "parentheses; '(.*)_' takes all before the last underscore, '(.*)/' the folder",
    )
    seed: int = option(
        '--seed', metavar='N', type=int, default=0, help='seed of the random choice; default: 0'
    )
