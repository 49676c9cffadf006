"""Small data of a user's own for the pages: right ones, and each usual mistake."""

import shutil
from pathlib import Path

import cv2
import numpy as np

SIZE = 64, 96  # height and width of an image
NAMES = 'abcdef'


def write(root: Path, classes: tuple[str, ...] = ('sky', 'wall', 'road'), change=lambda mask: mask):
    """Write images, masks of class indices, the splits train and val, and dataset.yaml.

    Args:
        root: The folder to write.
        classes: The names in dataset.yaml.
        change: Returns a mask as it is to be saved.
    """
    photo = cv2.imread(str(root.parent.parent / 'resources' / 'street.jpg'))
    for part in ('images', 'labels'):
        (root / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        part = photo[60 * number :, 40 * number :][: 3 * SIZE[0], : 3 * SIZE[1]]
        cv2.imwrite(str(root / 'images' / f'{name}.png'), cv2.resize(part, SIZE[::-1]))
        mask = np.zeros(SIZE, np.uint8)
        mask[20:] = 1
        mask[30:50, 10 + 8 * number : 40 + 8 * number] = 2
        cv2.imwrite(str(root / 'labels' / f'{name}.png'), change(mask))
    (root / 'dataset.yaml').write_text(f'classes: [{", ".join(classes)}]\n')
    (root / 'train.txt').write_text('\n'.join(NAMES[:4]))
    (root / 'val.txt').write_text('\n'.join(NAMES[4:]))


def right_and_wrong(folder: Path):
    """Write data/own, and one folder for each mistake of which the page of messages tells."""
    data = folder / 'data'
    write(data / 'own')
    write(data / 'other_order', classes=('wall', 'sky', 'road'))
    write(data / 'unused_class', classes=('sky', 'wall', 'road', 'car'))
    write(data / 'from_one', change=lambda mask: mask + 1)
    write(data / 'other_size', change=lambda mask: mask[: SIZE[0] // 2])
    two = ('background', 'car')
    write(data / 'two_values', two, change=lambda mask: 255 * (mask == 2).astype(np.uint8))
    shutil.copytree(data / 'own', data / 'jpeg_masks')
    for path in (data / 'jpeg_masks' / 'labels').iterdir():
        cv2.imwrite(
            str(path.with_suffix('.jpg')), 100 * cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        )
        path.unlink()
    shutil.copytree(data / 'own', data / 'damaged')
    image = data / 'damaged' / 'images' / 'b.png'
    image.write_bytes(image.read_bytes()[:3000])
