"""Depth, motion and first pictures of Cityscapes, as TI's EdgeAI-Lite uses them.

TexasInstruments/edgeai-torchvision, references/edgeailite/edgeai_xvision/xvision/datasets/
cityscapes_plus.py at f85ec314:

- Depth: ``disparity/<split>/<city>/<frame>_disparity.png`` and ``camera/<split>/<city>/
  <frame>_camera.json``, of the archives disparity_trainvaltest.zip and camera_trainvaltest.zip. A
  value p of the 16-bit PNG is the disparity (p - 1) / 256 in pixels, and 0 is unknown.
- Motion: ``gtFine/<split>/<city>/<frame>_gtFine_labelTrainIds_motion.png``, with 0 for static and
  255 for moving pixels.
- First pictures, such as optical flow: a folder beside ``leftImg8bit`` with its sub-folders. Of
  ``leftImg8bit_sequence`` it is the frame before the camera image.

Differs from the original: a disparity of 0 is infinitely far and becomes unknown, not 1 m; other
values than 0 and 255 in a file of motion are refused; first pictures are paired by the name of the
frame, not by their order.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.reading import json_text
from common.reading.text_files import TextFileError
from common.tasks import SEGMENTATION
from datasets import depth_files
from datasets.info import DataError, TaskClasses
from datasets.keys import IMAGE
from datasets.readers import label_files, layout, trees
from datasets.samples import FoundSamples, Sample, SceneFiles, UnusedFile, called, without_image

DEPTH, MOTION = 'depth', 'motion'
MOTION_CLASSES = TaskClasses(MOTION, ('static', 'moving'), ((110, 110, 110), (220, 20, 60)))
IMAGES, SEQUENCES = 'leftImg8bit', 'leftImg8bit_sequence'  # folders of Cityscapes
IMAGE_ENDING = '_leftImg8bit'
FLOW_FOLDER = 'leftImg8bit_flow_confidence_768x384'
NEAREST, FARTHEST = 1.0, 255.0  # metres to which known depth is clipped, as in the original
_MEANINGS = label_files.values_table({0: 0, 255: 1})
_DISPARITY, _CAMERA, _MOTION = '_disparity', '_camera', '_gtFine_labelTrainIds_motion'
_DISPARITY_STEPS = 256  # of a pixel
_MAX_CAMERA_BYTES = 1 << 16
_FRAME_PARTS = 3  # of a file name: city, sequence, frame
_FRAME_NAME = re.compile(r'(.+_\d+_)(\d{1,15})')


def with_scenes(
    found: FoundSamples, root: Path, split: str, wanted: SceneFiles, images: Collection[str]
) -> FoundSamples:
    """Return samples with the wanted pictures and targets, of which some may be missing.

    Args:
        found: The samples with images and labels.
        root: Folder of the data set.
        split: Name of the split.
        wanted: The pictures and tasks.
        images: Names of all images of the split, also of those that no list names.
    """
    firsts: dict[str, Path] = {}
    left: tuple[UnusedFile, ...] = ()
    if wanted.inputs > 1:
        firsts, left = _first_pictures(found, root, split, wanted, images)
    samples, tasks = [], () if split == 'test' else wanted.tasks
    for sample in found:
        targets = _targets(sample, root, split)
        first = firsts.get(sample.name)
        samples.append(
            Sample(
                sample.name,
                sample.image,
                sample.label,
                pictures=() if first is None else (first, sample.image),
                targets=tuple((task, targets[task]) for task in tasks),
                companions=(camera_file(targets[DEPTH]),) if DEPTH in tasks else (),
            )
        )
    return FoundSamples(tuple(samples), (*found.unused, *left))


def _targets(sample: Sample, root: Path, split: str) -> dict[str, Path]:
    """Return the files of all tasks, where they are expected."""
    return {
        DEPTH: root / 'disparity' / split / f'{sample.name}{_DISPARITY}.png',
        MOTION: root / 'gtFine' / split / f'{sample.name}{_MOTION}.png',
        **({} if sample.label is None else {SEGMENTATION: sample.label}),
    }


def _first_pictures(
    found: FoundSamples, root: Path, split: str, wanted: SceneFiles, images: Collection[str]
) -> tuple[dict[str, Path], tuple[UnusedFile, ...]]:
    """Return the first pictures by the name of the sample, and those of no image."""
    folder = root / str(wanted.input_folder)
    layout.check_first_folder(folder, root / IMAGES)
    if folder.name != SEQUENCES:
        firsts = _frames(folder / split)
        return firsts, trees.without(firsts, images, without_image(called(wanted.input_kind)))
    if wanted.input_kind != IMAGE:
        raise DataError(
            f'{folder}: holds camera images, not optical flow; set input_kind: image for the frame '
            'before, or compute flow with python -m datasets.prepare flow'
        )
    frames: dict[str, Path] = {}
    for city in sorted({sample.name.rpartition('/')[0] for sample in found}):
        listed = layout.listing(folder / split / city, layout.PNG, IMAGE_ENDING)
        frames |= {f'{city}/{name}': path for name, path in listed.items()}
    before = {sample.name: name_before(sample.name) for sample in found}
    # A sequence has 30 frames for each image, so the others are no sign of a mistake.
    return {name: frames[one] for name, one in before.items() if one in frames}, ()


def name_before(name: str) -> str:
    """Return the name of the frame before: ``aachen_000000_000018`` of ``aachen_000000_000019``."""
    found = _FRAME_NAME.fullmatch(name)
    if found is None or not int(found[2]):
        return ''
    return f'{found[1]}{int(found[2]) - 1:0{len(found[2])}d}'


def _frames(folder: Path) -> dict[str, Path]:
    """Return pictures by the name of their frame, ``city/frame``, whatever follows it.

    Raises:
        DataError: There are several of one frame.
    """
    found: dict[str, Path] = {}
    for city in sorted(path.name for path in folder.glob('*/')):
        for stem, path in layout.listing(folder / city, layout.PNG).items():
            name = f'{city}/{"_".join(stem.split("_")[:_FRAME_PARTS])}'
            if name in found:
                raise DataError(
                    f'{path} and {found[name].name} are of the same frame; keep one of them, or '
                    'name another folder as input_folder'
                )
            found[name] = path
    return found


def read_depth(path: Path) -> np.ndarray:
    """Return the depth of a disparity file, (H, W) float32 in metres, 0 where unknown.

    Raises:
        InputError: The file or that of its camera cannot be used.
    """
    focal_length, baseline = read_camera(camera_file(path))
    disparity = (depth_files.read_values(path).astype(np.float64) - 1) / _DISPARITY_STEPS
    known = disparity > 0
    depth = np.zeros(disparity.shape)
    depth[known] = (focal_length * baseline / disparity[known]).clip(NEAREST, FARTHEST)
    return depth.astype(np.float32)


def camera_file(disparity: Path) -> Path:
    """Return the path of the camera's file that belongs to a disparity file."""
    split, city = disparity.parent.parent.name, disparity.parent.name
    name = f'{disparity.stem.removesuffix(_DISPARITY)}{_CAMERA}.json'
    return disparity.parents[3] / 'camera' / split / city / name


def read_camera(path: Path) -> tuple[float, float]:
    """Return the horizontal focal length in pixels and the baseline in metres of a camera.

    Raises:
        InputError: The file is missing, damaged or no camera of Cityscapes.
    """
    try:
        document = json_text.read(path, dict, _MAX_CAMERA_BYTES)
    except TextFileError as error:
        raise InputError(
            f'{error}; depth needs camera_trainvaltest.zip of Cityscapes beside the disparity'
        ) from error
    return (
        _positive(document, 'intrinsic', 'fx', path),
        _positive(document, 'extrinsic', 'baseline', path),
    )


def _positive(document: Mapping[str, Any], group: str, key: str, path: Path) -> float:
    values = document.get(group)
    value = values.get(key) if isinstance(values, dict) else None
    if not json_text.is_number(value) or not 0 < value < 1e6:  # type: ignore[operator]
        raise InputError(
            f'{path}: not a camera of Cityscapes: {group}.{key} must be a positive number'
        )
    return float(value)  # type: ignore[arg-type]


def read_motion(path: Path) -> np.ndarray:
    """Return static (0) and moving (1) pixels, (H, W) uint8; raises ``InputError``."""
    return label_files.translate(label_files.read_indices(path), _MEANINGS, path)


DECODERS = {DEPTH: read_depth, MOTION: read_motion}
