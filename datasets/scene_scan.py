"""Examine scenes before a training: sizes of all files, and whether depth and flow are plausible.

    scan = scan_scenes(dataset, processes=4)        # InputError for the first bad sample
    judge(dataset, scan)                            # DataError, or a warning

Scans of disjoint parts of a split can be added.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from common import once
from common.errors import InputError
from common.process_map import map_samples
from common.tasks import DEPTH
from datasets import formats, optical_flow, scenes
from datasets.dataset import Dataset
from datasets.info import DataError
from datasets.label_scan import place_of
from datasets.samples import count_of, regular_file

MAX_SCENES = 5000  # of larger splits, as many are examined, evenly spread
MAX_READ_SCENES = 100  # whose depth and flow are read
# Metres of the median of depth. Millimetres read as metres x 256 are above it where the median is
# more than 20 m, as in open streets.
PLAUSIBLE = 0.1, 80.0
MAX_MOVEMENT = 32.0  # pixels of the median of flow; photos read as flow are above it
_HEADER_BYTES = 24  # of a PNG, with width and height


@dataclass(frozen=True)
class DepthFacts:
    """What the depth maps of a task show.

    Attributes:
        files: Number of depth maps.
        pixels: Number of pixels.
        known: Number of pixels whose depth is known.
        least: Smallest known depth in metres.
        most: Largest known depth in metres.
        medians: The median of each depth map that has any known pixel, in metres.
    """

    files: int = 0
    pixels: int = 0
    known: int = 0
    least: float = float('inf')
    most: float = 0.0
    medians: tuple[float, ...] = ()

    @classmethod
    def of(cls, depth: np.ndarray) -> 'DepthFacts':
        """Return the facts of one depth map, (H, W) float32, metres, 0 where unknown."""
        known = depth[depth > 0]
        if not known.size:
            return cls(1, depth.size)
        extent = float(known.min()), float(known.max())
        return cls(1, depth.size, known.size, *extent, (float(np.median(known)),))

    def __add__(self, other: 'DepthFacts') -> 'DepthFacts':
        return DepthFacts(
            self.files + other.files,
            self.pixels + other.pixels,
            self.known + other.known,
            min(self.least, other.least),
            max(self.most, other.most),
            self.medians + other.medians,
        )

    @property
    def median(self) -> float | None:
        """The median of the medians in metres; None if no depth is known."""
        return float(np.median(self.medians)) if self.medians else None


@dataclass(frozen=True)
class SceneScan:
    """What the scenes of a split, or of a part of it, show.

    Attributes:
        scenes: Number of scenes that were examined.
        depths: The facts of each depth task.
        movements: For each picture of flow that was read, see :func:`movement_of`.
    """

    scenes: int = 0
    depths: dict[str, DepthFacts] = field(default_factory=dict)
    movements: tuple[float, ...] = ()

    def __add__(self, other: 'SceneScan') -> 'SceneScan':
        depths = dict(self.depths)
        for task, facts in other.depths.items():
            depths[task] = depths.get(task, DepthFacts()) + facts
        movements = self.movements + other.movements
        return SceneScan(self.scenes + other.scenes, depths, movements)


def scan_scenes(
    dataset: Dataset,
    processes: int = 1,
    skip_bad: bool = False,
    on_progress: Callable[[str], None] = lambda activity: None,
) -> SceneScan:
    """Compare the sizes of the files of all scenes, and read depth and flow of some.

    Args:
        dataset: The split, or this process's part of it.
        processes: Number of worker processes.
        skip_bad: Leave out scenes that cannot be read.
        on_progress: Called with a description of each scene.

    Raises:
        InputError: A file cannot be used, or has another size than the image.
    """
    step = -(-len(dataset) // MAX_SCENES) or 1
    some = dataset.part(range(0, len(dataset), step))
    read_step = -(-len(some) // MAX_READ_SCENES) or 1
    examine = partial(_examine, read_step=read_step, skip_bad=skip_bad)
    total = SceneScan()
    for number, part in enumerate(map_samples(some, examine, processes, 'examining')):
        total += part
        on_progress(f'scene {number} of {len(some)}')
    return total


def judge(dataset: Dataset, scan: SceneScan) -> None:
    """Judge the depth and flow of a split.

    Raises:
        DataError: No pixel of a task has a known depth.
    """
    for task, facts in scan.depths.items():
        if facts.files and not facts.known:
            raise DataError(
                f'{place_of(dataset)} has no pixel of known {task} in '
                f'{count_of(facts.files, "file")}; a value of 0 means unknown, so there is nothing '
                'to learn'
            )
        warn_if_implausible(dataset, task, facts)
    warn_of_movements(dataset, scan.movements)


def warn_if_implausible(dataset: Dataset, task: str, facts: DepthFacts) -> None:
    """Warn, once in a command, of depth that can hardly be in metres."""
    median = facts.median
    if median is not None and not PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
        once.warn(
            f'unit of {task}',
            f'{place_of(dataset)}: the median of {task} is {median:.3g} m, which can hardly be '
            'right; is it in another unit than metres x 256? A folder of your own data can set its '
            'scale in dataset.yaml, such as scale: 1000 for millimetres',
        )


def movement_of(flow: np.ndarray) -> float:
    """Return the larger of the medians of abs(u) and abs(v), in pixels of this picture.

    Args:
        flow: (H, W, 3) uint8, see :mod:`datasets.optical_flow`.
    """
    vectors = flow[..., [optical_flow.U, optical_flow.V]].astype(np.int16) - optical_flow.ZERO
    return float(np.median(abs(vectors), axis=(0, 1)).max())


def warn_of_movements(dataset: Dataset, movements: Sequence[float]) -> None:
    """Warn, once in a command, of pictures that can hardly be optical flow.

    Args:
        dataset: The split.
        movements: Those of its pictures of flow.
    """
    if movements and (median := float(np.median(movements))) > MAX_MOVEMENT:
        once.warn(
            'flow that is none',
            f'{place_of(dataset)}: the median movement in its pictures of flow is {median:.0f} '
            'pixels, which can hardly be right; are they ordinary pictures? Those need '
            'input_kind: image; python -m datasets.prepare flow computes flow',
        )


def _examine(dataset: Dataset, index: int, read_step: int, skip_bad: bool) -> SceneScan:
    try:
        check_sizes(dataset, index)
        if index % read_step:
            return SceneScan(1)
        names = [task.name for task in dataset.tasks if task.kind == DEPTH]
        depths = {name: DepthFacts.of(dataset.target(index, name)) for name in names}
        movements = tuple(
            movement_of(optical_flow.read(path, dataset.reading))
            for path, is_flow in zip(dataset[index].pictures, dataset.flow)
            if is_flow
        )
    except InputError:
        if not skip_bad:
            raise
        return SceneScan()
    return SceneScan(1, depths, movements)


def check_sizes(dataset: Dataset, index: int) -> None:
    """Raise ``InputError`` if the sizes of a scene's files do not fit together.

    The headers of PNG files are compared first; only if these differ are the files examined.
    """
    sample = dataset[index]
    paths = [*sample.pictures, *(path for _, path in sample.targets)]
    sizes = {_size_in_header(path) for path in (sample.image, *paths)}
    if len(sizes) == 1 and None not in sizes:
        return
    size = dataset.size(index)
    if sample.pictures:
        scenes.check_shapes(sample, [scenes.picture_size(dataset, p) for p in sample.pictures])
    for _, path in sample.targets:
        own = _size_in_header(path)
        if own is not None:  # else the file is no PNG, or is damaged, as its reader tells
            dataset.check_sizes(index, size, own, path)


def _size_in_header(path: Path) -> tuple[int, int] | None:
    """Return height and width in the header of a PNG; None for any other file."""
    try:
        with regular_file(path).open('rb') as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    if formats.format_of(head) != formats.PNG or len(head) < _HEADER_BYTES:
        return None
    return int.from_bytes(head[20:24], 'big'), int.from_bytes(head[16:20], 'big')
