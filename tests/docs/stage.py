"""What lies in the folder of a page beside the project: small data in place of the reader's own.

``STAGE`` has a line for each thing of a page; functions get the page's folder. Owners of pages add
theirs, one line each.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from docs import wrong_data
from support import programs

SHARED = Path(os.environ.get('SHARED') or programs.PROJECT.parent / 'shared')
Stager = Callable[[Path], None]


def copied(source: str, target: str) -> Stager:
    """Copy a file or folder of the reference material."""

    def stage(folder: Path):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (SHARED / source).is_dir() else shutil.copyfile
        copy(SHARED / source, folder / target)

    stage.needs = SHARED / source
    return stage


def project_file(source: str, target: str) -> Stager:
    """Copy a file of the project."""

    def stage(folder: Path):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / source, folder / target)

    return stage


def small_photo(folder: Path) -> np.ndarray:
    """Return the demo's photo, 188x140 pixels."""
    return cv2.resize(cv2.imread(str(folder / 'resources' / 'street.jpg')), (188, 140))


def photos(folder: Path):
    """Write three small photos: photos/a.jpg to c.jpg."""
    (folder / 'photos').mkdir()
    for number, name in enumerate('abc'):
        cv2.imwrite(
            str(folder / 'photos' / f'{name}.jpg'),
            np.roll(small_photo(folder), 16 * number, axis=1),
        )


def photo(target: str) -> Stager:
    """Write the small photo under a name."""

    def stage(folder: Path):
        cv2.imwrite(str(folder / target), small_photo(folder))

    return stage


def video(folder: Path):
    """Write drive.avi: four small frames."""
    writer = cv2.VideoWriter(
        str(folder / 'drive.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (188, 140)
    )
    for number in range(4):
        writer.write(np.roll(small_photo(folder), 8 * number, axis=1))
    writer.release()


def camvid(folder: Path, counts: tuple = (('train', 3), ('val', 2), ('test', 2))):
    """Copy the first images of each split of CamVid to data/camvid."""
    for split, count in counts:
        for part in (split, f'{split}annot'):
            target = folder / 'data' / 'camvid' / part
            target.mkdir(parents=True)
            for path in sorted((SHARED / 'data' / 'camvid' / part).iterdir())[:count]:
                shutil.copyfile(path, target / path.name)


camvid.needs = SHARED / 'data' / 'camvid'
cityscapes = copied('data/samples/cityscapes', 'data/cityscapes')

STAGE: dict[str, list[Stager]] = {
    'README.md': [
        photo('test.jpg'),
    ],
    'troubleshooting.md': [
        project_file('resources/street.jpg', 'test.jpg'),
        photos,
        wrong_data.right_and_wrong,
    ],
    'python.md': [
        camvid,
        photos,
        video,
    ],
}
