"""Check a split with several pictures or tasks: read all its files and report every problem."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import InputError, UserError
from common.process_map import map_samples
from common.tasks import DEPTH
from datasets import label_scan, optical_flow, scenes
from datasets.dataset import Dataset
from datasets.image_files import read_image
from datasets.info import DataError
from datasets.label_scan import LabelScan
from datasets.label_values import check_range
from datasets.preparation.check import Problem, SplitReport
from datasets.registry import UNLABELLED_SPLIT
from datasets.samples import regular_file
from datasets.scene_scan import DepthFacts, movement_of, warn_if_implausible, warn_of_movements


@dataclass(frozen=True)
class SceneReport:
    """The contents and the problems of a split with several pictures or tasks.

    Attributes:
        samples: Number of samples.
        problems: All problems.
        scans: What the readable class maps of each task show.
        depths: What the readable depth maps of each task show.
    """

    samples: int
    problems: tuple[Problem, ...]
    scans: Mapping[str, LabelScan]
    depths: Mapping[str, DepthFacts]

    def as_json(self, dataset: Dataset) -> dict[str, Any]:
        """Return the report for ``--json``.

        Args:
            dataset: The split.
        """
        whole = SplitReport(self.samples, self.problems, LabelScan()).as_json(dataset)
        facts = {key: whole[key] for key in ('samples', 'unused', 'problems')}
        tasks: dict[str, Any] = {}
        for task, scan in self.scans.items():
            of_task = SplitReport(self.samples, (), scan).as_json(dataset.of_task(task))
            tasks[task] = {key: of_task[key] for key in ('classes', 'without_pixels', 'ignored')}
        for task, depth in self.depths.items():
            tasks[task] = depth_as_json(depth)
        return {**facts, 'tasks': tasks}


def depth_as_json(facts: DepthFacts) -> dict[str, Any]:
    """Return the facts of depth maps for ``--json``: metres, and the share of known pixels."""
    return {
        'files': facts.files,
        'known': facts.known / max(facts.pixels, 1),
        'least': facts.least if facts.known else None,
        'median': facts.median,
        'most': facts.most if facts.known else None,
    }


@dataclass
class _Found:
    """What one sample shows."""

    problems: list[Problem] = field(default_factory=list)
    scans: dict[str, LabelScan] = field(default_factory=dict)
    depths: dict[str, DepthFacts] = field(default_factory=dict)
    movements: list[float] = field(default_factory=list)


def check_scenes(
    dataset: Dataset, processes: int = 1, others: Mapping[str, LabelScan] | None = None
) -> SceneReport:
    """Read every picture and target of a split and report all problems, also unpaired files.

    Args:
        dataset: The split, opened with ``complete=False`` to report missing files as well.
        processes: Number of worker processes.
        others: What the class maps of other splits show, by task.
    """
    problems = _unpaired(dataset)
    names = _tasks(dataset)
    scans = {name: LabelScan() for name, kind in names.items() if kind != DEPTH}
    depths = {name: DepthFacts() for name, kind in names.items() if kind == DEPTH}
    movements: list[float] = []
    for found in map_samples(dataset, _examine, processes, 'checking'):
        problems += found.problems
        movements += found.movements
        for task, scan in found.scans.items():
            scans[task] += scan
        for task, facts in found.depths.items():
            depths[task] += facts
    for task, scan in scans.items():
        view = dataset.of_task(task)
        together = label_scan.problems(view, scan, (others or {}).get(task))
        problems += [Problem(path, 'values', line) for path, line in together]
        try:
            if not together:
                label_scan.refuse_ignored(view, scan)
        except DataError as error:
            problems.append(Problem(dataset.root or dataset[0].image, 'split', str(error)))
    for task, facts in depths.items():
        warn_if_implausible(dataset, task, facts)
    warn_of_movements(dataset, movements)
    return SceneReport(len(dataset), tuple(problems), scans, depths)


def _tasks(dataset: Dataset) -> dict[str, str]:
    """Return the kinds of the tasks by name; the label alone is that of segmentation."""
    return {task.name: task.kind for task in dataset.tasks} or {dataset.info.task: ''}


def _unpaired(dataset: Dataset) -> list[Problem]:
    """Return a problem for each file that lacks its partner."""
    found = [
        Problem(file.path, 'missing', f'{file.path}: {file.reason}')
        for file in dataset.unused
        if file.reason.startswith('no ') or file.reason.endswith(' without an image')
    ]
    with_targets = dataset.split != UNLABELLED_SPLIT
    for sample in dataset:
        expected = [*sample.pictures, *sample.companions]
        if not dataset.tasks and sample.label is not None:
            expected.append(sample.label)
        expected += [path for _, path in sample.targets]
        lacking = [f'{path} is missing' for path in expected if not path.exists()]
        if len(dataset.flow) > 1 and not sample.pictures:
            lacking.append('it has no first picture')
        lacking += [
            f'it has no {task}'
            for task in (_tasks(dataset) if with_targets and dataset.tasks else ())
            if sample.target(task) is None
        ]
        found += [Problem(sample.image, 'missing', f'{sample.image}: {why}') for why in lacking]
    return list({problem.message: problem for problem in found}.values())


def _examine(dataset: Dataset, index: int) -> _Found:
    """Return what one sample shows."""
    found = _Found()
    size = _examine_pictures(dataset, index, found)
    for task, kind in _tasks(dataset).items():
        _examine_target(dataset, index, task, kind, size, found)
    return found


def _examine_pictures(dataset: Dataset, index: int, found: _Found) -> tuple[int, ...] | None:
    """Read all pictures; return the size of the camera image, None if it is unreadable."""
    sample = dataset[index]
    sizes: list[tuple[int, ...] | None] = []
    # Without its first picture, a sample has the camera image alone.
    kinds = dataset.flow if sample.pictures else dataset.flow[-1:]
    for path, is_flow in zip(sample.pictures or (sample.image,), kinds):
        if not path.exists():
            sizes.append(None)  # reported as missing
            continue
        try:
            read = optical_flow.read if is_flow else read_image
            picture = read(regular_file(path), dataset.reading)
            sizes.append(picture.shape[:2])
            if is_flow:
                found.movements.append(movement_of(picture))
        except InputError as error:
            found.problems.append(Problem(path, 'image', str(error)))
            sizes.append(None)
    complete = [size for size in sizes if size is not None]
    if sample.pictures and len(complete) == len(sizes):
        try:
            scenes.check_shapes(sample, complete)
        except InputError as error:
            found.problems.append(Problem(sample.pictures[0], 'size', str(error)))
    return sizes[scenes.camera_place(sample)]


def _examine_target(
    dataset: Dataset, index: int, task: str, kind: str, size: tuple[int, ...] | None, found: _Found
) -> None:
    sample = dataset[index]
    path = sample.target(task) if dataset.tasks else sample.label
    companions = sample.companions if kind == DEPTH else ()  # such as the camera's file
    if path is None or not all(each.exists() for each in (path, *companions)):
        return  # a split without targets, or a missing file reported before
    try:
        values, fact = scenes.decode_target(dataset, index, task)
    except UserError as error:
        found.problems.append(Problem(path, 'label', str(error)))
        return
    if kind == DEPTH:
        found.depths[task] = DepthFacts.of(values)
    else:
        found.scans[task] = label_scan.scan_of_label(path, values, fact)
        try:
            check_range(values, len(dataset.info.of_task(task).classes), path)
        except InputError as error:
            found.problems.append(Problem(path, 'values', str(error)))
    if size is not None:
        try:
            dataset.check_sizes(index, size, np.shape(values), path)
        except InputError as error:
            found.problems.append(Problem(path, 'size', str(error)))
