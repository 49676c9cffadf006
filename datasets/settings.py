"""Options shared by the commands that work on a data set."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.settings import Settings, option
from common.tasks import MAX_INPUTS
from datasets.info import DatasetInfo
from datasets.keys import APPLY, FLOW, IGNORE, IMAGE, MAX_PIXELS, ImageReading
from datasets.samples import SceneFiles


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
        tasks: As the config key.
        inputs: As the config key.
        input_folder: As the config key.
        input_kind: As the config key.
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
    tasks: tuple[str, ...] = option(
        '--tasks',
        action='extend',
        nargs='+',
        default=(),
        metavar='TASK',
        help='tasks whose targets to read, such as depth segmentation; default: segmentation, or '
        'all of a data set without it; config key: tasks',
    )
    inputs: int = option(
        '--inputs',
        metavar='N',
        type=int,
        default=1,
        choices=range(1, MAX_INPUTS + 1),
        help='pictures of a scene to read; default: 1; config key: inputs',
    )
    input_folder: str | None = option(
        '--input-folder',
        metavar='FOLDER',
        help='with --inputs 2, folder of the first picture of each scene; config key: input_folder',
    )
    input_kind: str | None = option(
        '--input-kind',
        choices=(FLOW, IMAGE),
        help='with --inputs 2, what these pictures are; config key: input_kind',
    )

    @property
    def reading(self) -> ImageReading:
        """How to read the images."""
        return ImageReading(
            bit_depth=self.bit_depth,
            exif_orientation=self.exif_orientation,
            max_pixels=self.max_pixels,
        )

    def wanted(self, info: DatasetInfo) -> SceneFiles:
        """Return the pictures and targets to read.

        Args:
            info: Facts about the data set; all tasks are read of one without segmentation.

        Raises:
            UserError: A first picture is described, but not to be read.
        """
        tasks = self.tasks or (() if info.classes else tuple(info.tasks()))
        if self.inputs == 1:
            for name in ('input_folder', 'input_kind'):
                if (value := getattr(self, name)) is not None:
                    raise UserError(f'--{name.replace("_", "-")} {value}: needs --inputs 2')
            return SceneFiles(tasks=tasks)
        return SceneFiles(self.inputs, tasks, self.input_folder, self.input_kind)
