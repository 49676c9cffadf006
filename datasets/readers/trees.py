"""Find the files in folders and their sub-folders, and those that a data set does not use."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.files import walk
from datasets.samples import NOT_READ, UnusedFile

ELSEWHERE = 'not where this data set has its images'
SYSTEM_FILES = ('thumbs.db', 'desktop.ini')  # written by file managers, in lower case


@dataclass(frozen=True)
class Tree:
    """The files of a folder and its sub-folders.

    Attributes:
        files: Paths by name: the path below the folder, without ending and suffix.
        unused: Files of other endings, and further files of the same name.
    """

    files: dict[str, Path]
    unused: tuple[UnusedFile, ...]


def tree(
    folder: Path, endings: tuple[str, ...], suffix: str = '', leave_out: Path | None = None
) -> Tree:
    """List the files of a folder and all its sub-folders by name.

    Of several files with one name, the ending that comes first in ``endings`` is used.

    Args:
        folder: The folder; a missing one has no files.
        endings: File extensions to list, in lower case.
        suffix: Suffix that the stem of a listed file must have.
        leave_out: A folder that is not searched.

    Raises:
        UserError: A folder cannot be read.
    """
    found: dict[str, Path] = {}
    unused: list[UnusedFile] = []
    for path in _files_below(folder, leave_out):
        stem, ending = os.path.splitext(path)
        if ending.lower() not in endings or not stem.endswith(suffix):
            unused.append(UnusedFile(Path(path), NOT_READ))
            continue
        name = stem.removesuffix(suffix)[len(str(folder)) + 1 :]
        new, known = Path(path), found.get(name)
        if known is not None:
            new, known = sorted(
                (new, known), key=lambda file: (endings.index(file.suffix.lower()), file)
            )
            unused.append(UnusedFile(known, f'{new.name} has the same name'))
        found[name] = new
    return Tree(found, tuple(unused))


def left_in(folder: Path, used: Iterable[Path], endings: tuple[str, ...]) -> list[UnusedFile]:
    """Return the files in a folder of images, and below it, that are not used.

    Args:
        folder: The folder; a missing one has no files.
        used: The images that are used.
        endings: File extensions of the images of this data set.

    Raises:
        UserError: A folder cannot be read.
    """
    known = set(map(str, used))
    return [
        UnusedFile(Path(path), ELSEWHERE if path.lower().endswith(endings) else NOT_READ)
        for path in _files_below(folder)
        if path not in known
    ]


def without(
    files: dict[str, Path], partners: Collection[str], reason: str
) -> tuple[UnusedFile, ...]:
    """Return the files whose name is not among those of their partners."""
    alone = (name for name in sorted(files) if name not in partners)
    return tuple(UnusedFile(files[name], reason) for name in alone)


def _files_below(folder: Path, leave_out: Path | None = None) -> Iterator[str]:
    """Yield the files in a folder and its sub-folders, sorted, without hidden and system files."""
    if not folder.is_dir():
        return
    for place, folders, names in walk(folder, leave_out):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in sorted(names):
            if not name.startswith('.') and name.lower() not in SYSTEM_FILES:
                yield os.path.join(place, name)
