"""Small made-up data with several tasks and two pictures a scene, in the layout of ``folder``."""

import cv2
import numpy as np

from datasets.samples import SceneFiles

HEIGHT, WIDTH = 24, 40
DESCRIPTION = """classes: {road: [128, 64, 128], car: [0, 0, 142], sky: [70, 130, 180]}
tasks:
  depth: {labels: depth}
  motion: {labels: motion, label_suffix: _m, classes: [static, moving], ignore: [128]}
"""
ALL = SceneFiles(2, ('depth', 'segmentation', 'motion'))


def arrays(number, height=HEIGHT, width=WIDTH):
    """Return the arrays of a scene: image, flow, label, depth in metres, motion."""
    rng = np.random.RandomState(number)
    flow = (112 + rng.randint(0, 256, (height, width, 3)) // 8).astype(np.uint8)
    depth = rng.randint(256, 20000, (height, width)) / 256
    depth[: 1 + number % 3] = 0
    label = rng.randint(0, 3, (height, width)).astype(np.uint8)
    label[-1] = 255
    motion = rng.randint(0, 2, (height, width)).astype(np.uint8)
    motion[:, -2:] = 128
    return {
        'image': rng.randint(0, 256, (height, width, 3)).astype(np.uint8),
        'flow': flow,
        'label': label,
        'depth': depth,
        'motion': motion,
    }


def write_scene(root, name, scene):
    """Write the files of a scene."""
    for folder, array in (
        (f'images/{name}', scene['image']),
        (f'flow/{name}', scene['flow']),
        (f'labels/{name}', scene['label']),
        (f'depth/{name}', np.rint(scene['depth'] * 256).astype(np.uint16)),
        (f'motion/{name}_m', scene['motion']),
    ):
        path = root / f'{folder}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array)


def write_folder(root, names=('a', 'b', 'c', 'd'), description=DESCRIPTION):
    """Write scenes, and dataset.yaml; return the arrays by name."""
    root.mkdir(parents=True, exist_ok=True)
    (root / 'dataset.yaml').write_text(description)
    scenes = {name: arrays(number) for number, name in enumerate(names)}
    for name, scene in scenes.items():
        write_scene(root, name, scene)
    return scenes
