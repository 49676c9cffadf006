"""Options of ``python -m datasets.prepare init``."""

from dataclasses import dataclass

from common.settings import option
from datasets.preparation.settings import OwnDataSettings


@dataclass(frozen=True)
class InitSettings(OwnDataSettings):
    """Options of ``python -m datasets.prepare init``."""

    images: str | None = option(
        '--images', metavar='FOLDER', help='folder of the images in DIR; default: found by names'
    )
    labels: str | None = option(
        '--labels', metavar='FOLDER', help='folder of the masks in DIR; default: found by names'
    )
    label_suffix: str | None = option(
        '--label-suffix',
        metavar='TEXT',
        help='what follows the name of an image in that of its mask, as in --label-suffix=_mask; '
        'default: found by names',
    )
    classes: tuple[str, ...] = option(
        '--classes',
        action='extend',
        nargs='+',
        default=(),
        metavar='NAME',
        help='names of the classes, in the order of their values; default: to be filled in',
    )
