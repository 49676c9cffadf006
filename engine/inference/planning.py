"""Which files become which: the inputs that a user means, and where their pictures go."""

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
from datasets import image_files
from engine.inference import video
from engine.inference.settings import LooksSettings

DEFAULT_STEM, DEFAULT_FOLDER = 'result', 'results'
LABELS, COLOR = '_labels.png', '_color.png'  # what follows the picture's name


Pair = tuple[Input, Path]


@dataclass(frozen=True)
class Plan:
    """What is to be done: inputs with the paths of their pictures, the folder of several, and a
    line for each thing in the inputs' folders that cannot be looked at.
    """

    pairs: list[Pair]
    folder: Path | None
    problems: list[str]


def plan(patterns: Sequence[str], output: str | None, looks: LooksSettings) -> Plan:
    """The inputs and where their pictures go; raises ``UserError`` before any work is done, and
    creates nothing.

    One file goes to ``output``, by default ``result.jpg`` or ``result.mp4``. Several, a folder or a
    pattern go to the folder ``output``, by default ``results``, under the names and in the
    subfolders that they have.
    """
    first = patterns[0] if len(patterns) == 1 else ''
    one_file = first.strip() and kind_of(Path(os.path.expanduser(first))) == 'file'
    folder = None if one_file else Path(output or DEFAULT_FOLDER)
    problems: list[str] = []
    inputs = find_inputs(patterns, folder, problems.append)
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
    _check_overwriting(inputs, targets, looks)
    _check_writable(targets[0] if folder is None else folder / 'x')
    return Plan(list(zip(inputs, targets)), folder, problems)


def _result_names(inputs: Sequence[Input]) -> list[Path]:
    """``a.jpg`` for ``a.png``, or ``a.png.jpg`` when there is more than one file ``a``."""
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


def _check_overwriting(
    inputs: Sequence[Input], targets: Sequence[Path], looks: LooksSettings
) -> None:
    """Raise ``UserError`` when a picture, a class map or a folder of them would take the place of
    an input, or of another of them.
    """
    sources = {real(item.path) for item in inputs}
    maps = endings_of_maps(looks)
    planned: list[Path] = []
    for item, target in zip(inputs, targets):
        planned.append(target)
        if item.is_video:
            planned += [target.with_suffix('')] * bool(maps)
        else:
            planned += [beside(target, ending) for ending in maps]
    counts = Counter(map(real, planned))
    for path in planned:
        if real(path) in sources:
            raise UserError(f'{path}: is an input and would be overwritten; change it with -o')
        if counts[real(path)] > 1:
            raise UserError(
                f'{path}: {counts[real(path)]} inputs would be written to it; rename some'
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
    """Raise ``UserError`` when ``target`` cannot be written, from a trial that leaves no folder."""
    place = target.parent
    while (kind := _kind_of_output(place)) is None and place != place.parent:
        place = place.parent
    if kind != 'folder':
        raise UserError(f'{target}: cannot be written ({place} is no folder)')
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


def endings_of_maps(looks: LooksSettings) -> list[str]:
    """Return the endings of the class maps that are written beside a picture."""
    return [LABELS] * looks.save_labels + [COLOR] * looks.save_color


def beside(picture: Path, ending: str) -> Path:
    """The class map that is written beside a picture."""
    return picture.with_name(picture.stem + ending)


def _ending(item: Input) -> str:
    return '.mp4' if item.is_video else '.jpg'
