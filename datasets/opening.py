"""Open data sets with several pictures of a scene, or with tasks: what a reader finds, checked."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.sections import SectionError
from common.tasks import CLASSES, DEPTH, SEGMENTATION, Task, TaskKeys, kind_of
from common.terminal.short_repr import short_text
from datasets.dataset import Dataset
from datasets.info import DataError, DatasetInfo
from datasets.keys import FLOW
from datasets.readers.contract import Reader, TaskReader
from datasets.samples import Sample, SceneFiles, called


def check_list(name: str, list_file: str | os.PathLike[str] | None) -> None:
    """Raise ``DataError`` for a list, which names images and labels only."""
    if list_file is not None:
        raise DataError(
            f'{list_file}: a list names an image and a label a line, which is not enough for '
            f'inputs or tasks; use the splits of the data set {name}'
        )


def check_wanted(known: Reader, info: DatasetInfo, root: Path, wanted: SceneFiles) -> SceneFiles:
    """Return what is wanted with the defaults of the reader.

    Args:
        known: The reader.
        info: Facts about the data.
        root: Folder of the data set.
        wanted: The pictures and tasks.

    Raises:
        DataError: The data set has no first pictures, or no such task.
    """
    try:
        keys = TaskKeys(inputs=wanted.inputs, tasks=wanted.tasks or None)
    except SectionError as error:
        raise DataError(str(error)) from error
    for task in keys.tasks or ():
        _check_task(info, root, task)
    if wanted.inputs == 1:
        return wanted
    first = known.first_input(root) if isinstance(known, TaskReader) else None
    if first is None:
        raise DataError(
            f'{root}: the data set {info.name} has one picture of each scene, not {wanted.inputs}; '
            'the data set folder has a key input_folder for others'
        )
    wanted = replace(
        wanted,
        input_folder=wanted.input_folder or first[0],
        input_kind=wanted.input_kind or first[1],
    )
    if not os.path.isdir(root / str(wanted.input_folder)):  # pathlib refuses long names
        raise DataError(
            f'{root}: input_folder {short_text(str(wanted.input_folder))}: no such folder, but '
            f'inputs: 2 needs a first picture of each scene there; {_remedy(wanted)}'
        )
    return wanted


def _check_task(info: DatasetInfo, root: Path, task: str) -> None:
    """Raise ``DataError`` unless the data set has this task."""
    if task not in info.tasks():
        what = 'classes' if kind_of(task) == CLASSES else 'targets'
        raise DataError(
            f'{root}: the data set {info.name} has no {what} for the task {task}; it has '
            f'{", ".join(info.tasks()) or "none"}'
        )


def check_files(samples: Sequence[Sample], wanted: SceneFiles, with_targets: bool) -> None:
    """Raise ``DataError`` if a picture or a target is missing, with the number of all missing.

    Args:
        samples: The samples.
        wanted: The pictures and tasks.
        with_targets: Whether every sample needs its targets.
    """
    there = _Listing()
    if wanted.inputs > 1:
        firsts = [(sample, sample.pictures[0] if sample.pictures else None) for sample in samples]
        _check_kind(firsts, called(wanted.input_kind), there, _remedy(wanted))
    for task in wanted.tasks if with_targets else ():
        targets = [(sample, sample.target(task)) for sample in samples]
        _check_kind(targets, task, there, 'add them, or leave the task out of tasks')
    for sample in samples:
        for path in sample.companions:
            if not there(path):
                raise DataError(
                    f'{sample.image}: {path} is missing, which its targets need; unpack the '
                    'archive that has it'
                )


def _remedy(wanted: SceneFiles) -> str:
    """Return what to do about missing pictures."""
    named = 'input_folder names their folder'
    if wanted.input_kind == FLOW:
        return f'python -m datasets.prepare flow computes them; {named}'
    return named


def _check_kind(
    files: Sequence[tuple[Sample, Path | None]],
    kind: str,
    there: Callable[[Path], bool],
    remedy: str,
) -> None:
    missing = [(sample, path) for sample, path in files if path is None or not there(path)]
    if missing:
        sample, path = missing[0]
        wanted = '' if path is None else f', {path} is missing'
        raise DataError(
            f'{sample.image}: no {kind}{wanted}; {len(missing)} of {len(files)} images have none: '
            f'{remedy}'
        )


class _Listing:
    """Function that returns whether a file exists, from one listing of its folder."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def __call__(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(folder)) if folder.is_dir() else set()
            except OSError as error:
                raise DataError(f'{folder}: cannot be read ({error.strerror})') from error
        return path.name in self._names[folder]


def with_scenes(dataset: Dataset, known: Reader, root: Path, wanted: SceneFiles) -> Dataset:
    """Return the data set with the tasks and decoders of the wanted files.

    Args:
        dataset: The data set, with the samples that the reader has found, and its decoder of
            labels.
        known: The reader.
        root: Folder of the data set.
        wanted: The pictures and tasks, complete.
    """
    flow = (wanted.input_kind == FLOW,) * (wanted.inputs - 1) + (False,)
    if not wanted.tasks:
        return replace(dataset, flow=flow)
    info = dataset.info
    tasks = tuple(_task(info, name) for name in wanted.tasks)
    decoders = tuple((task.name, _decoder(dataset, known, root, task.name)) for task in tasks)
    first = next((task.name for task in tasks if task.kind == CLASSES), None)
    samples: Iterable[Sample] = dataset.samples
    if not isinstance(known, TaskReader):
        samples = (_with_label_as_target(sample, wanted) for sample in samples)
    elif first != SEGMENTATION:
        samples = (
            replace(sample, label=sample.target(first) if first else None, key=None)
            for sample in samples
        )
    return replace(
        dataset,
        info=info.of_task(first) if first else info.without_classes(),
        samples=tuple(samples),
        decode=dict(decoders)[first] if first else dataset.decode,
        flow=flow,
        tasks=tasks,
        decoders=decoders,
    )


def _task(info: DatasetInfo, name: str) -> Task:
    if kind_of(name) == DEPTH:
        return Task(name, DEPTH, 1)
    return Task(name, CLASSES, len(info.of_task(name).classes))


def _decoder(dataset: Dataset, known: Reader, root: Path, task: str) -> Callable[..., np.ndarray]:
    if isinstance(known, TaskReader) and task != SEGMENTATION:
        return known.target_decoder(root, task)
    return dataset.decode


def _with_label_as_target(sample: Sample, wanted: SceneFiles) -> Sample:
    """Return a sample of a reader without tasks: segmentation is the only one."""
    if sample.label is None:
        return sample
    return replace(sample, targets=tuple((task, sample.label) for task in wanted.tasks))
