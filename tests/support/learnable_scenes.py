"""Made-up scenes whose depth, segmentation and motion a network can learn, with flow and image."""

import numpy as np

from support import scene_data

HEIGHT, WIDTH = 32, 64
DESCRIPTION = """classes: {road: [128, 64, 128], car: [0, 0, 142], sky: [70, 130, 180]}
tasks:
  depth: {labels: depth}
  motion: {labels: motion, label_suffix: _m, classes: [static, moving], ignore: [128]}
"""
COLOURS = ((90, 90, 90), (200, 40, 40), (40, 120, 220))  # of road, car and sky


def scene(number):
    """Return the arrays of a scene: a road below a sky, and two cars, of which one moves."""
    rng = np.random.RandomState(number)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    horizon = 8 + 4 * rng.randint(3)
    labels[:horizon] = 2
    rows = np.arange(HEIGHT)[:, None].repeat(WIDTH, axis=1)
    depth = np.where(labels == 2, 0, 4 + 30 * (HEIGHT - rows) / HEIGHT)
    motion = np.zeros((HEIGHT, WIDTH), np.uint8)
    flow = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for place in range(2):
        top, left = horizon + 4 * rng.randint(2), 32 * place + 4 * rng.randint(4)
        area = slice(top, top + 12), slice(left, left + 20)
        labels[area], depth[area] = 1, 8 + 10 * place
        if place == number % 2:
            motion[area], flow[area] = 1, (128, 128, 200)
    labels[-2:], motion[-2:] = 255, 128
    image = np.array(COLOURS, np.uint8)[np.minimum(labels, 2) % 3]
    image = np.clip(image + rng.randint(-20, 21, image.shape), 0, 255).astype(np.uint8)
    return {'image': image, 'flow': flow, 'label': labels, 'depth': depth, 'motion': motion}


def write(root, names=('a', 'b', 'c', 'd'), split='train'):
    """Write scenes in the layout of ``folder``, with dataset.yaml."""
    root.mkdir(parents=True, exist_ok=True)
    (root / 'dataset.yaml').write_text(DESCRIPTION)
    for number, name in enumerate(names):
        scene_data.write_scene(root, f'{split}/{name}', scene(number))
