"""Which files a user means: names, folders and patterns."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from command import UserError

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
    '.exr',
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


def find_inputs(patterns: Sequence[str], leave_out: Path | None = None) -> list[Input]:
    """The files that ``patterns`` mean, each once, sorted: files, folders (searched with all
    below), glob patterns.

    leave_out: a folder, that of earlier results, in which nothing is looked for. Raises
        ``UserError``.
    """
    excluded = leave_out.resolve() if leave_out else None
    found, folders = [], []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = [
                p
                for p in sorted(path.rglob('*'))
                if p.suffix.lower() in IMAGES + VIDEOS
                and p.is_file()
                and excluded not in p.resolve().parents
            ]
            if not files:
                raise UserError(f'{pattern}: no image or video in this folder')
            folders.append(path.resolve())
        elif path.exists():
            files = [path]
        elif glob.has_magic(pattern):
            files = [
                p
                for p in map(Path, sorted(glob.glob(os.path.expanduser(pattern), recursive=True)))
                if p.is_file() and excluded not in p.resolve().parents
            ]
            if not files:
                raise UserError(f'{pattern}: no file matches')
        else:
            raise UserError(f'{pattern}: no such file or folder')
        found += files
    root = os.path.commonpath([*folders, *(p.absolute().parent for p in found)])
    return [
        Input(path, Path(os.path.relpath(path.absolute(), root)))
        for path in {p.resolve(): p for p in found}.values()
    ]
