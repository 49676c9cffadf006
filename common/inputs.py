"""Which files a user means: names, folders and patterns."""

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from common.errors import UserError
from common.files import kind_of

IMAGES = (
    '.jpg',
    '.jpeg',
    '.jpe',
    '.jp2',
    '.png',
    '.bmp',
    '.dib',
    '.tif',
    '.tiff',
    '.webp',
    '.ppm',
    '.pgm',
    '.pbm',
    '.pnm',
    '.gif',
    '.avif',
    '.hdr',
    '.ras',
    '.sr',
)
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')


@dataclass(frozen=True)
class Input:
    """A file to segment. relative: its place below the folder that all inputs share."""

    path: Path
    relative: Path

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


def _refuse(problem: str) -> NoReturn:
    raise UserError(problem)


def find_inputs(
    patterns: Sequence[str],
    leave_out: Path | None = None,
    report: Callable[[str], None] = _refuse,
) -> list[Input]:
    """Return the files that ``patterns`` mean, each once, sorted.

    Args:
        patterns: Files, folders (searched with all below), glob patterns.
        leave_out: The folder of earlier results; where it lies below a folder that is searched,
            nothing is looked for in it.
        report: Called with one line for each thing in a folder that cannot be looked at; by default
            that is an error.

    Raises:
        UserError: A pattern means no file, or what it means cannot be searched.
    """
    found: list[Path] = []
    folders: list[Path] = []
    for pattern in patterns:
        if not pattern.strip():
            raise UserError(f"-i '{pattern}': an empty name; . is the working directory")
        path = Path(os.path.expanduser(pattern))
        kind = kind_of(path)
        if kind == 'folder':
            found += _in_folder(path, leave_out, report)
            folders.append(real(path))
        elif kind == 'file' or os.path.exists(path):  # such as /dev/stdin
            found.append(path)
        elif glob.has_magic(pattern):
            found += _matches(path, leave_out, report)
        else:
            raise UserError(f'{pattern}: no such file or folder')
    if not found:
        raise UserError('nothing to segment: give files, folders or patterns with -i')
    root = os.path.commonpath([*folders, *(p.absolute().parent for p in found)])
    return [
        Input(path, Path(os.path.relpath(path.absolute(), root)))
        for path in {real(p): p for p in found}.values()
    ]


def real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve`` it never raises."""
    return Path(os.path.realpath(path))


def _in_folder(folder: Path, leave_out: Path | None, report: Callable[[str], None]) -> list[Path]:
    """The images and videos in a folder and below."""
    problems: list[str] = []
    found: list[Path] = []

    def closed(error: OSError) -> None:
        problems.append(f'{Path(error.filename)}: cannot be searched ({error.strerror})')

    excluded = _strictly_below(folder, leave_out)
    for place, subfolders, names in os.walk(folder, onerror=closed):
        subfolders[:] = [name for name in subfolders if real(Path(place, name)) != excluded]
        paths = [Path(place, name) for name in names]
        found += _readable([p for p in paths if p.suffix.lower() in IMAGES + VIDEOS], problems)
    if not found:
        raise UserError(problems[0] if problems else f'{folder}: no image or video in this folder')
    for problem in problems:
        report(problem)
    return sorted(found)


def _matches(pattern: Path, leave_out: Path | None, report: Callable[[str], None]) -> list[Path]:
    """The files that match a pattern."""
    fixed = Path(pattern.anchor)
    for part in pattern.parts[bool(pattern.anchor) :]:
        if glob.has_magic(part):
            break
        fixed = fixed / part
    excluded = _strictly_below(fixed, leave_out)
    problems: list[str] = []
    paths = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
    paths = [p for p in paths if not p.is_dir() and excluded not in real(p).parents]
    found = _readable(paths, problems)
    if not found:
        if kind_of(fixed) == 'folder':
            try:
                os.listdir(fixed)
            except OSError as error:
                raise UserError(f'{fixed}: cannot be searched ({error.strerror})') from error
        raise UserError(problems[0] if problems else f'{pattern}: no file matches')
    for problem in problems:
        report(problem)
    return found


def _readable(paths: list[Path], problems: list[str]) -> list[Path]:
    """The files among ``paths``; what is none, such as a link to nothing, becomes a problem."""
    found = []
    for path in paths:
        try:
            if kind_of(path) == 'file':
                found.append(path)
            else:
                problems.append(f'{path}: not a file, or a link to nothing')
        except UserError as error:
            problems.append(str(error))
    return found


def _strictly_below(folder: Path, leave_out: Path | None) -> Path | None:
    """``leave_out`` without links when it lies below ``folder``, else None."""
    if leave_out is None or real(folder) not in real(leave_out).parents:
        return None
    return real(leave_out)
