"""Options of ``python -m datasets.prepare polygons``."""

from dataclasses import dataclass
from pathlib import Path

from common.settings import flag, option
from datasets.preparation.settings import OwnDataSettings


@dataclass(frozen=True)
class PolygonSettings(OwnDataSettings):
    """Options of ``python -m datasets.prepare polygons``."""

    annotations: tuple[Path, ...] = option(
        nargs='+',
        type=Path,
        default=(),
        metavar='ANNOTATIONS',
        help='JSON files of LabelMe or a folder of them, XML of CVAT (CVAT for images 1.1), or '
        'JSON of COCO',
    )
    images: str | None = option(
        '--images',
        metavar='FOLDER',
        help='folder of the images in DIR; default: images, or DIR itself without such a folder',
    )
    labels: str | None = option(
        '--labels', metavar='FOLDER', help='folder in DIR to write the masks to; default: labels'
    )
    classes: tuple[str, ...] = option(
        '--classes',
        action='extend',
        nargs='+',
        default=(),
        metavar='NAME',
        help='the classes in the order of their indices; default: as the file declares them, for '
        'LabelMe by name',
    )
    background: str = option(
        '--background',
        metavar='NAME',
        default='background',
        help='class of the pixels that no shape covers, the first unless --classes has it; '
        'default: background',
    )
    ignore_background: bool = flag(
        '--ignore-background', help='ignore the pixels that no shape covers; they are no class then'
    )
    ignore: tuple[str, ...] = option(
        '--ignore',
        action='extend',
        nargs='+',
        default=(),
        metavar='NAME',
        help='names of shapes whose pixels are to be ignored',
    )
