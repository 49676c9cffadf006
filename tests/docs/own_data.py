"""A reader's own data: photos with masks, and with annotations of LabelMe, CVAT and COCO."""

from pathlib import Path

import cv2
import numpy as np

from support import annotation_files, programs

SHARED = programs.PROJECT.parent / 'shared'
SIZE = 140, 188  # of the annotated photos: height and width in pixels
ROAD, HOUSE = [[0, 100], [187, 90], [187, 139], [0, 139]], [[20, 10], [80, 12], [78, 80], [22, 84]]
FRAMES = (  # of CamVid's training images: three drives, all classes below in each
    '0001TP_007590', '0001TP_008520', '0006R0_f02730', '0006R0_f03330',
    '0016E5_00990', '0016E5_01290', '0016E5_01590', '0016E5_01920',
)  # fmt: skip


def masks(folder: Path):
    """Write data/street: images and masks of CamVid, reduced, with other classes, road and car."""
    source = SHARED / 'data' / 'camvid'
    meaning = np.zeros(256, np.uint8)
    meaning[[3, 8]], meaning[11:] = (1, 2), 255
    for part in ('images', 'masks'):
        (folder / 'data' / 'street' / part).mkdir(parents=True)
    for frame in FRAMES:
        image = cv2.imread(str(source / 'train' / f'{frame}.png'))
        label = cv2.imread(str(source / 'trainannot' / f'{frame}.png'), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(image, (240, 180), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / 'data' / 'street' / 'images' / f'{frame}.jpg'), small)
        label = cv2.resize(meaning[label], (240, 180), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / 'data' / 'street' / 'masks' / f'{frame}.png'), label)


masks.needs = SHARED / 'data' / 'camvid'


def labelme(folder: Path):
    """Write data/yard: three photos, each with a JSON file of LabelMe beside it."""
    for number, photo in enumerate(_photos(folder, folder / 'data' / 'yard')):
        moved = [[x + 30 * number, y] for x, y in HOUSE]
        annotation_files.labelme(
            photo.with_suffix('.json'),
            [('road', 'polygon', ROAD), ('house', 'polygon', moved)],
            imagePath=photo.name, imageHeight=SIZE[0], imageWidth=SIZE[1],
        )  # fmt: skip


def cvat(folder: Path):
    """Write data/fields/images and annotations.xml of CVAT."""
    points = ';'.join(f'{x},{y}' for x, y in ROAD)
    shapes = f'<polygon label="road" occluded="0" z_order="0" points="{points}"/>'
    photos = _photos(folder, folder / 'data' / 'fields' / 'images')
    size = f'width="{SIZE[1]}" height="{SIZE[0]}"'
    images = ''.join(
        f'<image id="{n}" name="{photo.name}" {size}>{shapes}</image>'
        for n, photo in enumerate(photos)
    )
    labels = '<meta><task><labels><label><name>road</name></label></labels></task></meta>'
    (folder / 'annotations.xml').write_text(
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<annotations><version>1.1</version>{labels}{images}</annotations>'
    )


def coco(folder: Path):
    """Write data/town/images and instances.json of COCO."""
    photos = _photos(folder, folder / 'data' / 'town' / 'images')
    outlines = {'road': ROAD, 'car': HOUSE}
    shapes = [
        (
            number,
            kind,
            {'segmentation': [[value for point in outline for value in point]], 'iscrowd': 0},
        )
        for number in range(len(photos))
        for kind, outline in enumerate(outlines.values(), start=1)
    ]
    annotation_files.coco(
        folder / 'instances.json', [photo.name for photo in photos], shapes,
        dict(enumerate(outlines, start=1)), SIZE,
    )  # fmt: skip


def _photos(folder: Path, target: Path) -> list[Path]:
    """Write three small photos and return their paths."""
    target.mkdir(parents=True)
    street = cv2.resize(cv2.imread(str(folder / 'resources' / 'street.jpg')), SIZE[::-1])
    photos = [target / f'{name}.jpg' for name in ('lane_1', 'yard_1', 'yard_2')]
    for number, photo in enumerate(photos):
        cv2.imwrite(str(photo), np.roll(street, 8 * number, axis=1))
    return photos
