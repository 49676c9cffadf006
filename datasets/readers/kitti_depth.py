"""KITTI depth: street scenes with depth from a laser scanner, for depth estimation.

Uhrig et al., 3DV 2017, arXiv:1708.06500; images of Geiger et al., IJRR 2013. A depth map is a
16-bit PNG of metres x 256, 0 where unknown. The archives of depth and of raw images unpack to

    train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png
    2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png

An image may also lie in the folder of its drive's depth maps, ``train/<drive>/image_02/data``, as
in TI's EdgeAI-Lite, or below ``raw``. A split is all drives in its folder; or a list ``train.txt``
or ``val.txt`` in the root names drives, a line each, such as ``2011_09_26_drive_0001_sync`` or the
path of its folder, and a single camera by ``2011_09_26_drive_0001_sync/image_02``. Otherwise both
cameras are used, ``image_02`` and ``image_03``.

Differs from TexasInstruments/edgeai-torchvision, references/edgeailite/edgeai_xvision/xvision/
datasets/kitti_depth.py at f85ec314: images and depth maps are paired by name, not by cutting five
images off at both ends; the last frame of a drive is used; so is the right camera, image_03.
"""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from common.files import listing
from common.terminal.short_repr import short_text
from datasets import depth_files
from datasets.info import DataError, DatasetInfo
from datasets.readers import layout, lists
from datasets.readers.contract import Preparation
from datasets.samples import FoundSamples, Sample, SceneFiles, UnusedFile

DEPTH = 'depth'
SPLITS = ('train', 'val')
CAMERAS = ('image_02', 'image_03')
INFO = DatasetInfo(
    'kitti_depth',
    (),
    (),
    splits=SPLITS,
    layout='<split>/<drive>/proj_depth/groundtruth/image_02/*.png, and the raw images '
    '<date>/<drive>/image_02/data/*.png',
    source='Download data_depth_annotated.zip and the raw drives from '
    'https://www.cvlibs.net/datasets/kitti',
    marks=('*/*/proj_depth', '*/proj_depth'),
    depths=(DEPTH,),
)
PREPARATION = Preparation(
    elsewhere='download data_depth_annotated.zip and the raw drives from '
    'https://www.cvlibs.net/datasets/kitti and unpack them into {root}',
)
_EDGE = 5  # images at both ends of a drive that have no depth map, which gathers 11 scans
_DATE_CHARACTERS = 10  # 2011_09_26
_IMAGES = ('.png', '.jpg', '.jpeg')


def find(root: Path, split: str) -> FoundSamples:
    """Return the images of a split that have a depth map, without labels."""
    return find_scenes(root, split, SceneFiles(tasks=(DEPTH,)))


def first_input(root: Path) -> tuple[str, str] | None:
    """Return None: the data set has one picture of each scene."""
    return None


def target_decoder(root: Path, task: str) -> Callable[[Path], np.ndarray]:
    """Return the function that reads depth maps."""
    return depth_files.read


def decode(path: Path) -> np.ndarray:
    """Raise ``DataError``: the data set has no labels of classes."""
    raise DataError(f'{path}: kitti_depth has no classes, only depth; set tasks: [depth]')


def find_scenes(root: Path, split: str, wanted: SceneFiles) -> FoundSamples:
    """Return the images of a split that have a depth map, named ``drive/camera/frame``.

    Raises:
        DataError: A listed drive is not there, or a depth map has no image.
    """
    samples: list[Sample] = []
    left: list[UnusedFile] = []
    for drive, cameras in _drives(root, split):
        for camera in cameras:
            depths = layout.listing(drive / 'proj_depth' / 'groundtruth' / camera, layout.PNG)
            if not depths:
                continue
            folder = _image_folder(root, drive, camera)
            images = layout.listing(folder, _IMAGES)
            _check_images(depths, images, folder)
            samples += [
                Sample(
                    f'{drive.name}/{camera}/{name}', images[name], None, targets=((DEPTH, path),)
                )
                for name, path in sorted(depths.items())
            ]
            inner = sorted(images)[_EDGE:-_EDGE]
            left += [
                UnusedFile(images[name], f'no {DEPTH}') for name in inner if name not in depths
            ]
    return FoundSamples(tuple(samples), tuple(left))


def _drives(root: Path, split: str) -> list[tuple[Path, tuple[str, ...]]]:
    """Return the drives of a split, each with the cameras to use."""
    names = root / f'{split}.txt'
    if not os.path.lexists(names):  # a link to nothing, a pipe or a folder: reading tells the fault
        folder = root / split
        found = listing(folder) if folder.is_dir() else []
        return [(drive, CAMERAS) for drive in sorted(found) if _has_depth(drive)]
    drives: list[tuple[Path, tuple[str, ...]]] = []
    lines: dict[tuple[Path, str], int] = {}
    for number, line in enumerate(lists.list_lines(names), 1):
        named = PurePosixPath(lists.forward_slashes(line.strip()))
        if not named.name:
            continue
        cameras: tuple[str, ...] = CAMERAS
        if named.name in CAMERAS:
            cameras, named = (named.name,), named.parent
        drive = _drive(root, named, f'{names}, line {number}')
        for camera in cameras:
            first = lines.setdefault((drive, camera), number)
            if first != number:
                raise DataError(
                    f'{names}, line {number}: {camera} of {drive.name} is in line {first} as well; '
                    'keep one of them'
                )
        drives.append((drive, cameras))
    return drives


def _drive(root: Path, named: PurePosixPath, where: str) -> Path:
    """Return the folder of a listed drive; raise ``DataError`` if there is none."""
    shown = short_text(str(named))
    if '..' in named.parts:
        raise DataError(f'{where}: {shown} leads out of {root}; name a drive')
    places = [root / named, *(root / split / named.name for split in SPLITS)]
    found = next((place for place in places if _has_depth(place)), None)
    if found is None:
        raise DataError(
            f'{where}: no depth maps of {shown}; expected is {SPLITS[0]}/<drive>/proj_depth in '
            f'{root}'
        )
    return found


def _has_depth(drive: Path) -> bool:
    return os.path.isdir(drive / 'proj_depth' / 'groundtruth')  # pathlib refuses long names


def _image_folder(root: Path, drive: Path, camera: str) -> Path:
    """Return the folder of a drive's images, the first place that exists."""
    date = drive.name[:_DATE_CHARACTERS]
    places = (drive, root / date / drive.name, root / 'raw' / date / drive.name)
    folders = [place / camera / 'data' for place in places]
    return next((folder for folder in folders if folder.is_dir()), folders[1])


def _check_images(depths: dict[str, Path], images: dict[str, Path], folder: Path) -> None:
    missing = [path for name, path in sorted(depths.items()) if name not in images]
    if missing:
        raise DataError(
            f'{missing[0]}: no image, {folder / missing[0].name} is missing; {len(missing)} of '
            f'{len(depths)} depth maps of this drive have none: download its raw images, or list '
            'other drives in train.txt and val.txt'
        )
