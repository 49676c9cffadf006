"""Scenes: depth maps, cameras, optical flow, folders with tasks, lists of KITTI's drives."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from datasets import depth_files, optical_flow
from datasets.readers import cityscapes_tasks
from datasets.samples import SceneFiles
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import pictures as picture_damage
from fuzz.mutators import texts as text_damage
from fuzz.readers.pictures import HEIGHT, WIDTH, chunk, png, smooth

_FOCAL_LENGTH, _BASELINE = 2262.52, 0.209313
_DESCRIPTION = b"""classes: [road, car, sky]
tasks:
  depth: {labels: depth, scale: 256}
  motion: {labels: motion, label_suffix: _m, classes: [static, moving], ignore: [128]}
input_folder: flow
input_kind: flow
"""
_DRIVES = ('2011_09_26_drive_0001_sync', '2011_09_28_drive_0002_sync')
_WANTED = SceneFiles(2, ('depth', 'segmentation', 'motion'))


def _values(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 1 << 16, (HEIGHT, WIDTH), dtype=np.uint16)


def _depth_maps(rng: np.random.Generator) -> list[Content]:
    values = _values(rng)
    right = partial(np.array_equal, (values / 256).astype(np.float32))
    text = chunk(b'tEXt', b'Comment\0metres x 256')
    return [
        one_file('depth.png', png(values, 16), right),
        one_file('interlaced.png', png(values, 16, interlaced=True), right),
        one_file('text.png', png(values, 16, extra=text), right),
        one_file('written.png', depth_files.encode(values / np.float32(256)), right),
    ]


def _disparities(rng: np.random.Generator) -> list[Content]:
    """Return a disparity and its camera, of which either is damaged."""
    values = _values(rng)
    camera = {
        'extrinsic': {'baseline': _BASELINE, 'pitch': 0.038, 'roll': 0.0},
        'intrinsic': {'fx': _FOCAL_LENGTH, 'fy': 2265.3, 'u0': 1096.98, 'v0': 513.137},
    }
    files = {
        'disparity/train/ulm/ulm_000000_000019_disparity.png': png(values, 16),
        'camera/train/ulm/ulm_000000_000019_camera.json': json.dumps(camera).encode(),
    }
    opened = next(iter(files))

    def right(depth: np.ndarray) -> bool:
        known = values > 1
        disparity = (values[known].astype(float) - 1) / 256
        expected = np.clip(_FOCAL_LENGTH * _BASELINE / disparity, 1, 255)
        return not depth[~known].any() and np.allclose(depth[known], expected, rtol=1e-5)

    return [Content(files, target, opened, right, keeps_name=True) for target in reversed(files)]


def _flows(rng: np.random.Generator) -> list[Content]:
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    right = partial(np.array_equal, np.ascontiguousarray(rgb[..., ::-1]))
    return [
        one_file('flow.png', png(rgb, 8), right),
        one_file('interlaced.png', png(rgb, 8, interlaced=True), right),
    ]


def _folders(rng: np.random.Generator) -> list[Content]:
    classes = rng.integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
    files = {
        'dataset.yaml': _DESCRIPTION,
        'images/a.png': png(smooth(rng), 8),
        'flow/a.png': png(smooth(rng), 8),
        'labels/a.png': png(classes, 8),
        'depth/a.png': png(_values(rng), 16),
        'motion/a_m.png': png(classes, 8),
    }

    def right(value: list[Any]) -> bool:
        return len(value) == 5 and np.array_equal(value[-1], classes)

    return [Content(files, 'dataset.yaml', '', right, keeps_name=True)]


def _read_folder(root: Path) -> list[Any]:
    """Return all pictures and targets of the scenes that a damaged description leaves."""
    dataset = datasets.open('folder', root, 'train', wanted=_WANTED)
    found: list[Any] = []
    for index in range(len(dataset)):
        scene = dataset.scene(index)
        found += [*scene.pictures, *scene.targets.values()]
    return found


def _drives(rng: np.random.Generator) -> list[Content]:
    files = {'train.txt': f'{_DRIVES[1]}\n{_DRIVES[0]}/image_02\n'.encode()}
    for drive in _DRIVES:
        for camera in ('image_02', 'image_03'):
            files[f'train/{drive}/proj_depth/groundtruth/{camera}/05.png'] = b''
            files[f'{drive[:10]}/{drive}/{camera}/data/05.png'] = b''

    def right(names: list[str]) -> bool:
        return [name.split('/')[1] for name in names] == ['image_02', 'image_03', 'image_02']

    return [Content(files, 'train.txt', '', right, keeps_name=True)]


def _read_drives(root: Path) -> list[str]:
    wanted = SceneFiles(tasks=('depth',))
    return [sample.name for sample in datasets.open('kitti_depth', root, 'train', wanted=wanted)]


READERS = (
    Reader(
        'depth_maps', _depth_maps, depth_files.read, picture_damage.OF_PNG, has_checksums=True,
        share=3,
    ),
    Reader('disparity', _disparities, cityscapes_tasks.read_depth, text_damage.OF_JSON, share=3),
    Reader(
        'flow_pictures', _flows, optical_flow.read, picture_damage.OF_PNG, has_checksums=True,
        share=2,
    ),
    Reader('tasks_yaml', _folders, _read_folder, text_damage.OF_YAML, share=3),
    Reader('kitti_drives', _drives, _read_drives, text_damage.OF_LISTS, share=2),
)  # fmt: skip
