"""Find the input files that a user names: files, folders and glob patterns."""

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from common.errors import UserError
from common.files import kind_of, walk
from common.glob_patterns import explain_no_match
from common.log import LOG
from common.terminal.name_list import first_names

IMAGE_SUFFIXES = (
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
)
VIDEO_SUFFIXES = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts',
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """An image or video to segment.

    Attributes:
        path: The file.
        relative: Its path relative to the common parent folder of all inputs.
    """

    path: Path
    relative: Path

    @property
    def is_video(self) -> bool:
        """Whether the file name has a suffix of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def is_file(self) -> bool:
        """Whether the path is that of a file, as it is unless a subclass says otherwise."""
        return True

    @property
    def name(self) -> str:
        """What messages call the input."""
        return str(self.path)


def _refuse(problem: str) -> NoReturn:
    """Raise a problem as ``UserError``: the default of ``report`` in :func:`find_inputs`."""
    raise UserError(problem)


def find_inputs(
    patterns: Sequence[str],
    leave_out: Path | None = None,
    report: Callable[[str], None] = _refuse,
) -> list[Input]:
    """Return the files that ``patterns`` name, each once.

    The files are in the order of the patterns; those of one folder or glob pattern are sorted.

    Args:
        patterns: Files, folders (searched recursively) and glob patterns.
        leave_out: Folder of earlier results, which is skipped if it lies below a searched folder.
        report: Called with one line for each unreadable entry of a folder or match of a glob
            pattern. By default such an entry is an error.

    Raises:
        UserError: A pattern is empty or names no file, or its folder cannot be searched.
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
    """Return the path with links resolved; unlike ``Path.resolve``, never raise."""
    return Path(os.path.realpath(path))


def _in_folder(folder: Path, leave_out: Path | None, report: Callable[[str], None]) -> list[Path]:
    """Return the images and videos in a folder and its subfolders; log how many others it has."""
    problems: list[str] = []
    found: list[Path] = []
    others: list[Path] = []

    def closed(error: OSError) -> None:
        problems.append(f'{Path(error.filename)}: cannot be searched ({error.strerror})')

    excluded = _strictly_below(folder, leave_out)
    for place, _, names in walk(folder, excluded, closed):
        paths = [Path(place, name) for name in sorted(names)]
        meant = [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES]
        found += _readable(meant, problems)
        known = set(meant)
        others += [p for p in paths if p not in known and not p.name.startswith('.')]
    if others:
        LOG.info(
            '%s: %d files whose names do not end as those of images or videos are not used: %s',
            folder,
            len(others),
            first_names([path.relative_to(folder) for path in others]),
        )
    if not found:
        raise UserError(problems[0] if problems else f'{folder}: no image or video in this folder')
    for problem in problems:
        report(problem)
    return sorted(found)


def _matches(pattern: Path, leave_out: Path | None, report: Callable[[str], None]) -> list[Path]:
    """Return the files that match a glob pattern."""
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
        raise UserError(problems[0] if problems else f'{pattern}: {explain_no_match(pattern)}')
    for problem in problems:
        report(problem)
    return found


def _readable(paths: list[Path], problems: list[str]) -> list[Path]:
    """Return the regular files among ``paths`` and add the others to ``problems``."""
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
    """Return ``leave_out`` with links resolved if it lies below ``folder``, else None."""
    if leave_out is None or real(folder) not in real(leave_out).parents:
        return None
    return real(leave_out)
