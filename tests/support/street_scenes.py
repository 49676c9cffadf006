"""Small made-up files in the layouts of Cityscapes' and KITTI's depth, motion and flow."""

import json

import cv2
import numpy as np

BASELINE, FOCAL_LENGTH = 0.209313, 2262.52  # of Cityscapes' cameras


def write_png(path, array):
    """Write an array of 8 or 16 bits, and the folders of its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def noise(seed, height, width):
    """Return an image of noise, (height, width, 3) uint8."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def write_cityscapes(root, frames, height=16, width=32):
    """Write frames such as ``('train', 'aachen', 'aachen_000000_000019')`` with all targets.

    Returns:
        The disparity values, the label ids and the motion values by name.
    """
    written = {}
    for seed, (split, city, name) in enumerate(frames):
        rng = np.random.RandomState(seed)
        disparity = rng.randint(0, 32768, (height, width)).astype(np.uint16)
        disparity[0, :4] = (0, 1, 2, 257)
        ids = rng.choice([7, 8, 11, 26, 0], (height, width)).astype(np.uint8)
        motion = (rng.randint(0, 2, (height, width)) * 255).astype(np.uint8)
        camera = {
            'extrinsic': {'baseline': BASELINE, 'pitch': 0.038},
            'intrinsic': {'fx': FOCAL_LENGTH, 'fy': 2265.3, 'u0': 1096.98, 'v0': 513.137},
        }
        image = noise(seed, height, width)
        write_png(root / f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png', image)
        write_png(root / f'gtFine/{split}/{city}/{name}_gtFine_labelIds.png', ids)
        write_png(root / f'gtFine/{split}/{city}/{name}_gtFine_labelTrainIds_motion.png', motion)
        write_png(root / f'disparity/{split}/{city}/{name}_disparity.png', disparity)
        flow = root / f'leftImg8bit_flow_confidence_768x384/{split}/{city}/{name}_leftImg8bit.png'
        write_png(flow, 112 + noise(100 + seed, height // 2, width // 2) // 8)
        path = root / f'camera/{split}/{city}/{name}_camera.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(camera))
        written[f'{city}/{name}'] = disparity, ids, motion
    return written


def write_kitti(root, drives, frames=14, height=12, width=40, below='{date}/{drive}'):
    """Write drives such as ``('train', '2011_09_26_drive_0001_sync')``, of both cameras.

    As in the published files, the first and last five frames have no depth map.

    Returns:
        The depth values by name of the sample.
    """
    written = {}
    for seed, (split, drive) in enumerate(drives):
        images = root / below.format(date=drive[:10], drive=drive, split=split)
        for camera in ('image_02', 'image_03'):
            for frame in range(frames):
                name = f'{frame:010d}'
                write_png(images / camera / 'data' / f'{name}.png', noise(seed, height, width))
                if not 5 <= frame < frames - 5:
                    continue
                values = np.random.RandomState(frame).randint(0, 20000, (height, width))
                truth = root / split / drive / 'proj_depth/groundtruth' / camera / f'{name}.png'
                write_png(truth, values.astype(np.uint16))
                written[f'{drive}/{camera}/{name}'] = values
    return written
