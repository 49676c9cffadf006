"""Find images and labels in folders, pair them by name, and report the files that are not used."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common.files import read_text, walk
from common.inputs import IMAGE_SUFFIXES
from datasets.dataset import (
    NO_IMAGE,
    NOT_LISTED,
    NOT_READ,
    FoundSamples,
    Sample,
    UnusedFile,
)
from datasets.info import DataError

PNG = ('.png',)
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


def listing(folder: Path, endings: tuple[str, ...], suffix: str = '') -> dict[str, Path]:
    """List the files of a folder by name, without those of its sub-folders.

    Args:
        folder: The folder; a missing one has no files.
        endings: File extensions to list, in lower case.
        suffix: Suffix that the stem of a listed file must have.

    Returns:
        Paths by stem without the suffix.

    Raises:
        DataError: Two files have one name, or the folder cannot be read.
    """
    found: dict[str, Path] = {}
    try:
        names = sorted(os.listdir(folder)) if folder.is_dir() else ()
    except OSError as error:
        raise DataError(f'{folder}: cannot be read ({error.strerror})') from error
    for file in names:
        stem, ending = os.path.splitext(file)  # not Path, which takes seconds for all of COCO
        hidden = file.startswith('.')  # such as the ._ files that macOS adds to archives
        if hidden or ending.lower() not in endings or not stem.endswith(suffix):
            continue
        name = stem.removesuffix(suffix)
        if name in found:
            raise DataError(
                f'{folder / file} and {found[name].name} have the same name; keep one of them'
            )
        found[name] = folder / file
    return found


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
        DataError: A folder cannot be read.
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
        DataError: A folder cannot be read.
    """
    known = set(map(str, used))
    return [
        UnusedFile(Path(path), ELSEWHERE if path.lower().endswith(endings) else NOT_READ)
        for path in _files_below(folder)
        if path not in known
    ]


def pair(
    images: dict[str, Path], labels: dict[str, Path], expected: Callable[[str], Path]
) -> FoundSamples:
    """Return a sample for each image, sorted by name, and the labels without an image.

    Args:
        images: Image files by name.
        labels: Label files by name.
        expected: Function that returns the label path for a name. If a label is missing, its sample
            has this path, and opening the data set reports it.
    """
    return FoundSamples(
        tuple(
            Sample(name, image, labels.get(name) or expected(name))
            for name, image in sorted(images.items())
        ),
        without(labels, images, NO_IMAGE),
    )


def without(
    files: dict[str, Path], partners: Collection[str], reason: str
) -> tuple[UnusedFile, ...]:
    """Return the files whose name is not among those of their partners."""
    alone = (name for name in sorted(files) if name not in partners)
    return tuple(UnusedFile(files[name], reason) for name in alone)


def select_listed(
    found: FoundSamples, list_file: Path, name_of: Callable[[str], str] = str
) -> FoundSamples:
    """Return the samples that a list file names, in its order; the others are not used.

    A line names a sample with or without the ending of its image. Leading folders that do not
    exist here are ignored, and backslashes separate folders as slashes do.

    Args:
        found: All samples.
        list_file: Text file with a sample per line.
        name_of: Function that extracts the name of the sample from a line.

    Raises:
        DataError: A name is unknown, or the list cannot be read.
    """
    by_name = {sample.name: sample for sample in found}
    chosen = []
    for number, line in enumerate(list_lines(list_file), 1):
        if not line.strip():
            continue
        name = name_of(line.strip())
        sample = next((by_name[n] for n in _names_meant(name) if n in by_name), None)
        if sample is None:
            raise DataError(
                f'{list_file}, line {number}: there is no image called {name!r}; write a name '
                f'per line, such as {next(iter(by_name), "that of an image")}, or remove this file'
            )
        chosen.append(sample)
    return FoundSamples(tuple(chosen), found.unused)


def not_listed(
    found: FoundSamples, lists: Iterable[Path], name_of: Callable[[str], str] = str
) -> tuple[UnusedFile, ...]:
    """Return the images, among those with a label, that no list names; raises ``DataError``.

    Args:
        found: All samples.
        lists: The lists of all splits; missing ones name nothing.
        name_of: Function that extracts the name of the sample from a line.
    """
    known = {sample.name for sample in found}
    named: set[str] = set()
    for path in lists:
        lines = list_lines(path) if path.is_file() else []
        for line in filter(None, map(str.strip, lines)):
            named.update(name for name in _names_meant(name_of(line)) if name in known)
    return tuple(
        UnusedFile(sample.image, NOT_LISTED) for sample in found if sample.name not in named
    )


def list_lines(path: Path) -> list[str]:
    """Return the lines of a list file; raises ``DataError``."""
    try:
        return read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read as a list of files ({error})') from error


def forward_slashes(listed: str) -> str:
    """Return a listed path with slashes between its folders, also if Windows has written it."""
    return listed.replace('\\', '/')


def without_image_ending(name: str) -> str:
    """Return a name without the ending of an image, if it has one."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in IMAGE_SUFFIXES else name


def _names_meant(listed: str) -> Iterator[str]:
    """Yield the names that a listed one can mean, the most exact first."""
    yield listed
    parts = PurePosixPath(forward_slashes(listed)).parts
    for start in range(len(parts)):
        name = '/'.join(parts[start:])
        yield name
        yield without_image_ending(name)


def _files_below(folder: Path, leave_out: Path | None = None) -> Iterator[str]:
    """Yield the files in a folder and its sub-folders, sorted, without hidden and system files."""
    if not folder.is_dir():
        return
    for place, folders, names in walk(folder, leave_out):
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in sorted(names):
            if not name.startswith('.') and name.lower() not in SYSTEM_FILES:
                yield os.path.join(place, name)
