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

from docs import own_data, wrong_data
from docs.stage_camvid import frames
from docs.stage_checkpoints import checkpoints
from support import learnable_scenes, programs

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


def camvid(folder: Path, chosen: tuple = (('train', 18, 3), ('val', 0, 2), ('test', 33, 2))):
    """Copy images of each split of CamVid, which show all classes, to data/camvid."""
    for split, first, count in chosen:
        for part in (split, f'{split}annot'):
            target = folder / 'data' / 'camvid' / part
            target.mkdir(parents=True)
            for path in sorted((SHARED / 'data' / 'camvid' / part).iterdir())[
                first : first + count
            ]:
                shutil.copyfile(path, target / path.name)


def own_images(folder: Path):
    """Write data/own: six images, with masks of an upper and a lower half."""
    for number in range(6):
        image = np.roll(small_photo(folder), 30 * number, axis=1)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[70 + 5 * number :] = 1
        for name, pixels in ((f'images/{number}.jpg', image), (f'masks/{number}.png', mask)):
            (folder / 'data' / 'own' / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / 'data' / 'own' / name), pixels)


def scenes(folder: Path):
    """Write data/scenes: small scenes with flow, depth, classes and motion."""
    root = folder / 'data' / 'scenes'
    learnable_scenes.write(root, split='train')
    learnable_scenes.write(root, ('a', 'b'), 'val')


camvid.needs = SHARED / 'data' / 'camvid'
cityscapes = copied('data/samples/cityscapes', 'data/cityscapes')

STAGE: dict[str, list[Stager]] = {
    'README.md': [
        photo('test.jpg'),
        photos,
        camvid,
        own_images,
    ],
    'first-picture.md': [
        photo('test.jpg'),
    ],
    'segmenting.md': [
        photo('test.jpg'),
        photos,
        video,
    ],
    'backends.md': [
        photo('photo.jpg'),
    ],
    'evaluation.md': [
        frames(
            train=('0016E5_00990', '0016E5_01290', '0016E5_01590'),  # all classes
            val=('0016E5_07959',),
            test=('0001TP_009540', 'Seq05VD_f02610', 'Seq05VD_f03420'),  # all classes; the worst
        ),
        cityscapes,
    ],
    'export.md': [
        photos,
        video,
    ],
    'networks.md': [
        photo('photo.jpg'),
        checkpoints('ddrnet23_slim_aux', whole='best_val_smaller.pth'),
        checkpoints(
            'csail_resnet18dilated8_c1_deepsup',
            encoder='baseline-resnet18dilated-c1_deepsup/encoder_epoch_20.pth',
            decoder='baseline-resnet18dilated-c1_deepsup/decoder_epoch_20.pth',
        ),
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
    # datasets.md, training.md, several-devices.md, configuration.md, reproducibility.md
    'datasets.md': [
        camvid,
        cityscapes,
        own_data.masks,
        own_data.labelme,
        own_data.cvat,
        own_data.coco,
    ],
    'training.md': [camvid],
    'several-devices.md': [camvid],
    'configuration.md': [camvid],
    'reproducibility.md': [camvid],
    'tasks.md': [
        scenes,
        video,
    ],
}
