"""Plan the files of infer.py: which inputs a user means, and where each result is written."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import kind_of
from common.inputs import Input, find_inputs, real
from common.tasks import CLASSES, DEPTH, SEGMENTATION, Task
from common.writing import write_targets
from common.writing.protected_files import ProtectedFiles
from datasets import image_files
from engine.inference import video
from engine.inference.settings import LooksSettings
from engine.inference.sources import only_source

DEFAULT_STEM, DEFAULT_FOLDER = 'result', 'results'
# Of the maps beside a picture; they follow the stem of its name.
LABELS_ENDING, COLOR_ENDING = '_labels.png', '_color.png'
CONFIDENCE_ENDING, PROBABILITIES_ENDING = '_confidence.png', '_probabilities.npz'
DEPTH_ENDING = '_metres.png'  # metres x 256, 16 bits
ALONE = (Task(SEGMENTATION, CLASSES, 1),)  # the tasks of most networks

Pair = tuple[Input, Path]


@dataclass(frozen=True)
class OutputPlan:
    """The inputs of infer.py and the paths of their results.

    Attributes:
        pairs: Each input with the path of its picture.
        folder: Output folder of several inputs; None for a single one.
        problems: One line for each entry of the input folders that cannot be searched.
    """

    pairs: list[Pair]
    folder: Path | None
    problems: list[str]


def plan_outputs(
    patterns: Sequence[str],
    output: str | None,
    looks: LooksSettings,
    protected: ProtectedFiles | None = None,
    tasks: Sequence[Task] = ALONE,
) -> OutputPlan:
    """Find the inputs and choose the path of each picture, without creating anything.

    The picture of one file, or the video of a stream, is written to ``output``, by default
    ``result.jpg`` or ``result.mp4``. Pictures of several files, of a folder or of a pattern are
    written to the folder ``output``, by default ``results``, under the names and in the subfolders
    of their inputs.

    Args:
        patterns: Files, folders and patterns, or one camera, stream or ``-``.
        output: Path of the picture or of the folder; None for the default.
        looks: Settings that select the class maps to write beside the pictures.
        protected: Further files that no result may overwrite, such as the weights.
        tasks: The tasks of the network.

    Raises:
        UserError: An input is missing, a result cannot be written or would overwrite a file, or the
            settings select maps of classes and no task has any.
    """
    _check_looks(looks, tasks)
    first = patterns[0] if len(patterns) == 1 else ''
    source = only_source(patterns)
    one_file = first.strip() and kind_of(Path(os.path.expanduser(first))) == 'file'
    folder = None if source or one_file else Path(output or DEFAULT_FOLDER)
    problems: list[str] = []
    inputs = [source] if source else find_inputs(patterns, folder, problems.append)
    if folder is None:
        target = Path(output or DEFAULT_STEM + _ending(inputs[0]))
        if _kind_of_output(target) == 'folder' or (output or '').endswith('/'):
            target = target / (inputs[0].path.stem + _ending(inputs[0]))
        targets = [target]
    else:
        if _kind_of_output(folder) == 'file':
            raise UserError(f'-o {folder}: is a file; several results need a folder')
        targets = [folder / name for name in _result_names(inputs)]
    for item, target in zip(inputs, targets):
        (video if item.is_video else image_files).check_format(target)
    maps = map_endings(looks, tasks)
    planned = _planned_paths(inputs, targets, maps, tasks)
    _check_overwriting(inputs, targets, maps, planned)
    protected = (protected or ProtectedFiles()).add('an input', _files(inputs))
    for path in planned:
        protected.claim('-o', path, f'name another {"file" if folder is None else "folder"}')
        if folder is not None:
            write_targets.refuse_stream(path)
    _check_writable(targets[0] if folder is None else folder / 'x')
    return OutputPlan(list(zip(inputs, targets)), folder, problems)


def _files(inputs: Sequence[Input]) -> list[Path]:
    return [item.path for item in inputs if item.is_file]


def _result_names(inputs: Sequence[Input]) -> list[Path]:
    """Return ``a.jpg`` for ``a.png``, or ``a.png.jpg`` if several files have the stem ``a``."""
    stems = Counter(item.relative.with_suffix('') for item in inputs)
    return [
        item.relative.with_name(
            (
                item.relative.stem
                if stems[item.relative.with_suffix('')] == 1
                else item.relative.name
            )
            + _ending(item)
        )
        for item in inputs
    ]


def _planned_paths(
    inputs: Sequence[Input],
    targets: Sequence[Path],
    maps: Sequence[str],
    tasks: Sequence[Task],
) -> list[Path]:
    """Return the files of all results, and the folders of the maps of videos."""
    planned: list[Path] = []
    for item, target in zip(inputs, targets):
        if item.is_video:
            planned += [target, *[target.with_suffix('')] * bool(maps)]
        else:
            planned += [picture_path(target, name) for name in task_names(tasks)]
            planned += [map_path(target, ending) for ending in maps]
    return planned


def _check_overwriting(
    inputs: Sequence[Input],
    targets: Sequence[Path],
    maps: Sequence[str],
    planned: Sequence[Path],
) -> None:
    """Raise ``UserError`` if a result would overwrite another one, or be mixed with others."""
    sources = set(map(real, _files(inputs)))
    counts = Counter(map(real, planned))
    for path in planned:
        if counts[real(path)] > 1:
            raise UserError(
                f'{path}: {counts[real(path)]} results would be written to it; rename inputs, or '
                'give their pictures another ending'
            )
    folders = {
        real(target.with_suffix(''))
        for item, target in zip(inputs, targets)
        if item.is_video and maps
    }
    for folder in folders:
        if _kind_of_output(folder) == 'file':
            raise UserError(f'{folder}: is a file; the class maps of a video need this folder')
    names = re.compile(rf'[0-9]{{8,}}({"|".join(map(re.escape, maps))})')
    for path in [*sources, *counts]:
        if path.parent in folders and names.fullmatch(path.name):
            raise UserError(f'{path}: would be overwritten by the class maps of a video')


def _check_writable(target: Path) -> None:
    """Raise ``UserError`` if ``target`` cannot be written; the trial creates no folder."""
    place = write_targets.target_of(target).parent
    while (kind := _kind_of_output(place)) is None and place != place.parent:
        place = place.parent
    if kind != 'folder':
        raise UserError(f'{target}: cannot be written ({place} is not a folder)')
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f'{target}: cannot be written ({error.strerror})') from error


def _kind_of_output(path: Path) -> str | None:
    try:
        return kind_of(path)
    except UserError as error:
        reason = getattr(error.__cause__, 'strerror', None) or error.__cause__
        raise UserError(f'-o {path}: cannot be written ({reason})') from error


def map_endings(looks: LooksSettings, tasks: Sequence[Task] = ALONE) -> list[str]:
    """Return the name endings of the maps that the settings request, of all tasks."""
    requested = {
        LABELS_ENDING: looks.save_labels,
        COLOR_ENDING: looks.save_color,
        CONFIDENCE_ENDING: looks.save_confidence,
        PROBABILITIES_ENDING: looks.save_probabilities,
    }
    of_kind = {
        CLASSES: [ending for ending, wanted in requested.items() if wanted],
        DEPTH: [DEPTH_ENDING] * looks.save_labels,
    }
    return [
        f'_{name}{ending}' if name else ending
        for name, task in task_names(tasks).items()
        for ending in of_kind[task.kind]
    ]


def _check_looks(looks: LooksSettings, tasks: Sequence[Task]) -> None:
    """Raise ``UserError`` for maps of classes of a network whose tasks are all depth."""
    if any(task.kind == CLASSES for task in tasks):
        return
    for name in ('save_color', 'save_confidence', 'save_probabilities'):
        if getattr(looks, name):
            raise UserError(f'--{name.replace("_", "-")}: no task has classes; leave it out')


def task_names(tasks: Sequence[Task]) -> dict[str, Task]:
    """Return the tasks by the name that their files have: '' for the main one, which is first."""
    main = next((task for task in tasks if task.kind == CLASSES), tasks[0])
    return {'': main} | {task.name: task for task in tasks if task is not main}


def picture_path(target: Path, name: str) -> Path:
    """Return the path of the picture of a task, by its name in :func:`task_names`."""
    return target.with_name(f'{target.stem}_{name}{target.suffix}') if name else target


def map_path(picture: Path, ending: str) -> Path:
    """Return the path of a map beside a picture."""
    return picture.with_name(picture.stem + ending)


def _ending(item: Input) -> str:
    return '.mp4' if item.is_video else '.jpg'
